// watch_net.c: see watch_net.h.
#include "comm/watch_net.h"

#include "base/fault.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

static socklen_t to_system(const struct thaw_address *a, union any_address *s) {
    memset(s, 0, sizeof *s);
    if (a->v6) {
        s->v6.sin6_family = AF_INET6;
        s->v6.sin6_port = htons(a->port);
        memcpy(&s->v6.sin6_addr, a->bytes, 16);
        return sizeof s->v6;
    }
    s->v4.sin_family = AF_INET;
    s->v4.sin_port = htons(a->port);
    memcpy(&s->v4.sin_addr, a->bytes, 4);
    return sizeof s->v4;
}

static void from_system(struct thaw_address *a, const union any_address *s) {
    *a = (struct thaw_address){.v6 = s->any.sa_family == AF_INET6};
    a->port = ntohs(a->v6 ? s->v6.sin6_port : s->v4.sin_port);
    if (a->v6)
        memcpy(a->bytes, &s->v6.sin6_addr, 16);
    else
        memcpy(a->bytes, &s->v4.sin_addr, 4);
}

static int open_one(bool v6) {
    const struct thaw_address anywhere = {.v6 = v6};
    union any_address own;
    const socklen_t length = to_system(&anywhere, &own);
    const int one = 1, fd = socket(own.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (v6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, &own.any, length) == 0) return fd;
    close(fd);
    return -1;
}

void thaw_net_open(struct thaw_net *n) {
    *n = (struct thaw_net){.fd = {open_one(false), open_one(true)}};
}

void thaw_net_close(struct thaw_net *n) {
    for (int i = 0; i < 2; i++) {
        if (n->fd[i] >= 0) close(n->fd[i]);
        n->fd[i] = -1;
    }
}

static uint16_t port_of(int fd) {
    union any_address own;
    struct thaw_address a;
    socklen_t length = sizeof own;
    if (getsockname(fd, &own.any, &length) != 0) return 0;
    from_system(&a, &own);
    return a.port;
}

// Addresses of one network link alone (fe80::) would need the link's name, which is another on each host.
static bool is_usable(const struct ifaddrs *i) {
    if (!i->ifa_addr || !(i->ifa_flags & IFF_UP)) return false;
    if (i->ifa_addr->sa_family == AF_INET) return true;
    return i->ifa_addr->sa_family == AF_INET6 &&
           !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr);
}

int thaw_net_addresses(const struct thaw_net *n, struct thaw_address list[THAW_ADDRESSES_MAX]) {
    struct ifaddrs *all = NULL;
    int count = 0;
    if (getifaddrs(&all) != 0) return 0;
    for (const struct ifaddrs *i = all; i && count < THAW_ADDRESSES_MAX; i = i->ifa_next) {
        union any_address s = {0};
        if (!is_usable(i)) continue;
        memcpy(&s, i->ifa_addr, i->ifa_addr->sa_family == AF_INET6 ? sizeof s.v6 : sizeof s.v4);
        from_system(&list[count], &s);
        const int fd = n->fd[list[count].v6];
        if (fd < 0) continue;
        list[count].port = port_of(fd);
        list[count].loopback = (i->ifa_flags & IFF_LOOPBACK) != 0;
        count++;
    }
    freeifaddrs(all);
    return count;
}

void thaw_net_send(const struct thaw_net *n, const struct thaw_address *to, struct thaw_beat *beat) {
    union any_address s;
    const socklen_t length = to_system(to, &s);
    const int fd = n->fd[to->v6 != 0];
    memcpy(beat->nonce, n->nonce, sizeof beat->nonce);
    if (fd >= 0 && !thaw_fault_call("beat"))
        (void)!sendto(fd, beat, sizeof *beat, MSG_DONTWAIT | MSG_NOSIGNAL, &s.any, length);
}

static bool receive_one(int fd, struct thaw_beat *beat, union any_address *from, ssize_t *got) {
    socklen_t length = sizeof *from;
    *got = recvfrom(fd, beat, sizeof *beat, MSG_DONTWAIT | MSG_TRUNC, &from->any, &length);
    // An error that an earlier datagram met on its way is reported here once.
    return *got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EBADF);
}

bool thaw_net_receive(const struct thaw_net *n, struct thaw_beat *beat, struct thaw_address *from) {
    enum { TRIES = 64 }; // what is not ours must not keep us here
    for (int i = 0; i < 2; i++) {
        union any_address s;
        ssize_t got;
        for (int t = 0; n->fd[i] >= 0 && t < TRIES && receive_one(n->fd[i], beat, &s, &got); t++) {
            if (got != sizeof *beat || memcmp(beat->nonce, n->nonce, sizeof beat->nonce) != 0) continue;
            beat->phase[THAW_PHASE_NAME - 1] = 0;
            from_system(from, &s);
            return true;
        }
    }
    return false;
}
