// watch_net.h: datagrams between the watchdogs of a job: UDP, over IPv4 and IPv6, whichever there is. Lost
// ones are lost. Private to comm/watch*.c. Local; not thread-safe. Nothing here calls MPI.
#ifndef THAW_COMM_WATCH_NET_H
#define THAW_COMM_WATCH_NET_H

#include "comm/watch.h"

enum { THAW_ADDRESSES_MAX = 32 };

struct thaw_address {
    uint8_t v6, loopback; // loopback: means this host, wherever it is used
    uint16_t port;
    uint8_t bytes[16]; // 4 or 16, in network order
};

enum thaw_beat_kind {
    THAW_BEAT_STATE = 1, // to rank 0: where a rank is
    THAW_BEAT_GONE,      // to rank 0: the rank is done
    THAW_BEAT_ANSWER,    // from rank 0, to each of the two
    THAW_BEAT_END        // from rank 0: the job stalled, end
};

struct thaw_beat {
    uint64_t nonce[2]; // the job's: what others send is not taken
    int32_t kind, rank;
    int32_t address;         // that it was sent to, of the list of rank 0's; the answer repeats it
    float waited_s, still_s; // as struct thaw_watched
    char phase[THAW_PHASE_NAME];
};

struct thaw_net {
    int fd[2]; // of IPv4 and of IPv6; -1 where the host has none
    uint64_t nonce[2];
};

// Sockets on ports that the system chooses. A host without any network gives a net that neither sends nor
// receives.
void thaw_net_open(struct thaw_net *n);
void thaw_net_close(struct thaw_net *n);
// Where others reach this net: all addresses of the host that are valid elsewhere, and loopback. Returns how
// many.
int thaw_net_addresses(const struct thaw_net *n, struct thaw_address list[THAW_ADDRESSES_MAX]);
// Does not wait and does not fail: what cannot be sent is lost.
void thaw_net_send(const struct thaw_net *n, const struct thaw_address *to, struct thaw_beat *beat);
// A datagram of this job that has come; false when there is none.
bool thaw_net_receive(const struct thaw_net *n, struct thaw_beat *beat, struct thaw_address *from);

#endif
