// thaw describe: what folders of Thaw hold.
#include "jobs/facts.h"
#include "jobs/job.h"

struct options {
    struct thaw_job_common common;
};

static const struct thaw_opt opts[] = {
    THAW_JOB_OPTIONS(struct options),
};

static int describe(const char *folder, int format, bool more, struct thaw_err *err) {
    struct thaw_facts facts = {0};
    const int code = thaw_facts_of_folder(&facts, folder, err);
    if (code == THAW_OK) thaw_facts_print(stdout, format, NULL, &facts);
    if (code == THAW_OK && more && format == THAW_FORMAT_TEXT) putchar('\n');
    thaw_facts_clear(&facts);
    return code;
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    const struct options *o = options;
    int code = THAW_OK;
    if (thaw_comm_rank(ctx->comm) == 0) {
        if (o->common.format == THAW_FORMAT_CSV) puts("key,value");
        for (int i = 0; code == THAW_OK && i < operands->n; i++)
            code = describe(operands->item[i], o->common.format, i + 1 < operands->n, err);
    }
    return thaw_comm_agree(ctx->comm, code, err);
}

static const struct thaw_cmd cmd = {
    .program = "thaw",
    .name = "describe",
    .summary = "say what folders of Thaw hold",
    .operands = "FOLDER...",
    .min_operands = 1,
    .max_operands = -1,
    .description =
        "Prints what each folder holds: a log, a dataset, a model, a prior, an association, a generator, "
        "virtual interactions, tables, or the record of 'thaw run'. "
        "Of a folder with versions side by side the current one is described.\n\n"
        "The facts are those of the folder's manifest: rows, interactions, parts, factors, iterations, "
        "bytes, the digest that later steps know it by, who made it and from what. "
        "'complete' says whether all files that the manifest names are there in their length; "
        "nothing is read but manifests ('thaw-lookup check' reads all of a tables folder). "
        "With --format csv there is a line 'key,value' for each, and 'folder' begins each folder; "
        "with jsonl one object a folder.\n\n"
        "A folder without a manifest is not finished, and is an error, as is a damaged manifest.",
    .examples = "thaw describe run/data\n"
                "thaw describe run/data run/model run/tables --format jsonl\n"
                "thaw describe run/data --format csv | awk -F, '$1 == \"interactions\" { print $2 }'",
    THAW_CMD_OPTIONS(struct options, opts),
};
const struct thaw_job thaw_job_describe = {&cmd, run};
