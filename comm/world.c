// world.c: start and end of a job, stop signals, agreement on errors.
#include "comm/handle.h"

#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include "comm/watch.h"

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_flag;

static void on_stop_signal(int signal_number) {
    (void)signal_number;
    stop_flag = 1;
}

static void catch_stop_signals(void) {
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

// How many tasks the launcher says this process is one of; 1 when it says nothing. Variables that describe an
// allocation rather than this process (SLURM_NTASKS) do not count: a plain run inside a batch script is a
// valid run of one rank.
static int launched_tasks(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (!text) continue;
        if (strcmp(names[i], "SLURM_STEP_NUM_TASKS") == 0 && !getenv("SLURM_PROCID")) continue;
        int n = atoi(text);
        return n > 1 ? n : 1;
    }
    return 1;
}

#ifdef OPEN_MPI
// Was this Open MPI built with Slurm's own PMI-1 or PMI-2, which few are? MPI's tool interface knows its
// parts before MPI_Init.
static bool speaks_slurm_pmi(void) {
    int provided, index;
    if (MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) != MPI_SUCCESS) return false;
    const bool speaks = MPI_T_cvar_get_index("pmix_s1_priority", &index) == MPI_SUCCESS ||
                        MPI_T_cvar_get_index("pmix_s2_priority", &index) == MPI_SUCCESS;
    MPI_T_finalize();
    return speaks;
}
#endif

// One of several tasks of srun, which gave Open MPI no way to find the others, or one (--mpi=pmi2) that it
// was not built for: MPI_Init would end the process with twenty lines of its own. (One built for Slurm's old
// PMI-1 would start without PMI_RANK: OMPI_MCA_pmix=s1 says so. Flux sets PMI_RANK as well, and Open MPI has
// a part for it.)
static bool cannot_begin(int tasks) {
#ifdef OPEN_MPI
    static const char *const ways[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "OMPI_MCA_pmix",
                                       "FLUX_PMI_LIBRARY_PATH"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (getenv(ways[i])) return false;
    if (getenv("PMI_RANK") && (!getenv("SLURM_PROCID") || tasks < 2 || speaks_slurm_pmi())) return false;
    return tasks > 1;
#else
    (void)tasks;
    return false;
#endif
}

static int wrong_launcher(int tasks, const char *mpi, struct thaw_err *err) {
    return thaw_fail(err, THAW_EUSAGE,
                     "this is one of %d tasks, but %s sees only one: the launcher does not suit this MPI; "
                     "use 'srun --mpi=pmix -n %d thaw ...' or 'mpirun -n %d thaw ...'",
                     tasks, mpi, tasks, tasks);
}

// "Open MPI v4.1.4" of a text that may run over many lines.
static void library_version(char *out, size_t cap) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int n = 0;
    MPI_Get_library_version(text, &n);
    text[strcspn(text, ",\n")] = 0;
    snprintf(out, cap, "%.*s", (int)cap - 1, text);
}

static void host_name(char out[THAW_HOST_MAX]) {
    if (gethostname(out, THAW_HOST_MAX) != 0) strcpy(out, "unknown");
    out[THAW_HOST_MAX - 1] = 0;
    out[strcspn(out, ".")] = 0;
}

// Ranks of a node: those that share memory, or runs of THAW_NODE_RANKS ranks (for tests, and to count what
// would go over the wire were they on nodes of their own).
static void split_nodes(struct thaw_comm *c) {
    const char *text = getenv("THAW_NODE_RANKS");
    const int most = text ? atoi(text) : 0;
    int rank, leader;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    leader = rank;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &c->machine);
    MPI_Bcast(&leader, 1, MPI_INT, 0, c->machine);
    MPI_Comm_split(MPI_COMM_WORLD, 0, leader, &c->all); // equal keys keep their order
    MPI_Comm_rank(c->machine, &rank);
    MPI_Comm_split(c->machine, most > 0 ? rank / most : 0, rank, &c->node);
    MPI_Comm_rank(c->all, &c->rank);
    MPI_Comm_size(c->all, &c->size);
    MPI_Comm_rank(c->node, &c->node_rank);
    MPI_Comm_size(c->node, &c->node_size);
}

static int find_nodes(struct thaw_comm *c, struct thaw_err *err) {
    int64_t own[1], *all = NULL; // 1 for the first rank of a node
    split_nodes(c);
    own[0] = c->node_rank == 0;
    int code = thaw_alloc(&all, (size_t)c->size, sizeof *all, "the nodes", err);
    if (!code) code = thaw_alloc(&c->node_first, (size_t)c->size + 1, sizeof(int), "the nodes", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_allgather_i64(c, own, 1, all);
    for (int r = 0; r < c->size; r++) {
        if (!all[r]) continue;
        if (r <= c->rank) c->node_number = c->nnodes;
        c->node_first[c->nnodes++] = r;
    }
    c->node_first[c->nnodes] = c->size;
done:
    free(all);
    return code;
}

int thaw_comm_begin(struct thaw_comm **comm, struct thaw_err *err) {
    struct thaw_comm *c = NULL;
    int code, provided = 0, tasks = launched_tasks(); // before MPI_Init, which may change the environment
    *comm = NULL;
    if (cannot_begin(tasks)) return wrong_launcher(tasks, "Open MPI", err);
    catch_stop_signals(); // before MPI starts, which takes long enough for one to come
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
        provided < MPI_THREAD_FUNNELED)
        return thaw_fail(err, THAW_EBUG,
                         "the MPI library does not start with thread support: build it with threads");
    if ((code = thaw_alloc(&c, 1, sizeof *c, "the communicator", err))) goto done;
    if ((code = find_nodes(c, err))) goto done;
    host_name(c->host);
    library_version(c->mpi_version, sizeof c->mpi_version);
    if (c->size == 1 && tasks > 1) code = wrong_launcher(tasks, c->mpi_version, err);
    thaw_fault_begin(c->rank);
done:
    if (code) thaw_comm_end(&c);
    if (!code) *comm = c;
    return code;
}

void thaw_comm_end(struct thaw_comm **comm) {
    struct thaw_comm *c = *comm;
    if (c) {
        thaw_watch_phase("end");
        MPI_Comm_free(&c->node);
        MPI_Comm_free(&c->machine);
        MPI_Comm_free(&c->all);
        free(c->node_first);
    }
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized) MPI_Finalize();
    if (c) thaw_watch_stop(&c->watch);
    free(c);
    *comm = NULL;
}

int thaw_comm_watch(struct thaw_comm *c, const char *job, double timeout_s, bool quiet,
                    struct thaw_err *err) {
    thaw_watch_stop(&c->watch);
    if (c->size == 1 || !(timeout_s > 0)) return THAW_OK;
    return thaw_watch_start(&c->watch, c, job, timeout_s, quiet, err);
}

void thaw_comm_phase(struct thaw_comm *c, const char *name) {
    thaw_watch_phase(name);
    c->fault = thaw_fault(name);
}

int thaw_comm_rank(const struct thaw_comm *c) {
    return c->rank;
}

int thaw_comm_size(const struct thaw_comm *c) {
    return c->size;
}

const char *thaw_comm_host(const struct thaw_comm *c) {
    return c->host;
}

const char *thaw_comm_mpi_version(const struct thaw_comm *c) {
    return c->mpi_version;
}

bool thaw_comm_stop_requested(const struct thaw_comm *c) {
    (void)c;
    return stop_flag != 0;
}

int thaw_comm_agree(struct thaw_comm *c, int code, struct thaw_err *err) {
    struct thaw_err own = err ? *err : THAW_ERR_INIT;
    int lowest = code ? c->rank : c->size;
    if (c->size > 1) MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_INT, MPI_MIN, c->all);
    if (lowest == c->size) return THAW_OK;
    if (c->rank == lowest) {
        if (own.code == THAW_OK) thaw_fail(&own, code, "%s", thaw_code_name(code));
        own.code = code;
        if (own.rank < 0) own.rank = lowest; // a failure agreed on before keeps its rank
    }
    if (c->size > 1) MPI_Bcast(&own, (int)sizeof own, MPI_BYTE, lowest, c->all);
    if (err) *err = own;
    return own.code;
}

int thaw_comm_same(struct thaw_comm *c, const void *bytes, size_t n, const char *what, struct thaw_err *err) {
    int code = THAW_OK;
    uint64_t own[2] = {n, thaw_hash_id(bytes, n)}, first[2] = {own[0], own[1]};
    thaw_comm_bcast(c, first, sizeof first, 0);
    if (own[0] != first[0] || own[1] != first[1])
        code = thaw_fail(err, THAW_EDISAGREE, "%s differs from rank 0's: give every rank the same", what);
    return thaw_comm_agree(c, code, err);
}

int thaw_comm_cores(struct thaw_comm *c) {
    cpu_set_t own, *all = NULL;
    int n = 1, sharing = 1, ok;
    CPU_ZERO(&own);
    if (sched_getaffinity(0, sizeof own, &own) != 0) CPU_SET(0, &own);
    MPI_Comm_size(c->machine, &n);
    all = malloc((size_t)n * sizeof own);
    ok = all != NULL;
    MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, c->machine);
    if (ok) {
        sharing = 0;
        MPI_Allgather(&own, (int)sizeof own, MPI_BYTE, all, (int)sizeof own, MPI_BYTE, c->machine);
        for (int i = 0; i < n; i++) {
            cpu_set_t both;
            CPU_AND(&both, &own, &all[i]);
            if (CPU_COUNT(&both) > 0) sharing++;
        }
    }
    free(all);
    return CPU_COUNT(&own) > sharing ? CPU_COUNT(&own) / sharing : 1;
}

int thaw_comm_hosts(struct thaw_comm *c, char **names, int64_t *nbytes, struct thaw_err *err) {
    int node_rank = 0;
    MPI_Comm_rank(c->machine, &node_rank);
    int64_t n = node_rank == 0 ? (int64_t)strlen(c->host) + 1 : 0; // one rank of each host speaks
    return thaw_comm_gather(c, c->host, n, 0, (void **)names, nbytes, err);
}
