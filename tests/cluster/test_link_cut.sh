#!/usr/bin/env bash
# A network cable comes out in the middle of training, and nobody is told: the job ends by itself within --stall-timeout, naming phase
# and rank; requeued, it finishes on the nodes that are left with the same bytes.
# labels: once
# cost: 130
. "$THAW_SOURCE/tests/cluster/common.sh"
lose_node cut-link

# ---- Nothing of the cut off job is left on its node ----
cluster join-link 3
cluster root scontrol update NodeName=node3 State=RESUME
cluster wait-idle 60 || fail "node 3 is not back: $(cluster root sinfo -N)"
[ -z "$(ranks)" ] || fail "ranks are left: $(ranks)"
