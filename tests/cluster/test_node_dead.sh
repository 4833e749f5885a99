#!/usr/bin/env bash
# A compute node dies in the middle of training, and Slurm takes its time to notice: the job ends by itself within --stall-timeout, naming
# phase and rank; requeued, it finishes on the nodes that are left with the same bytes. (Where Slurm is faster: test_node_lost.sh.)
# labels: once
# cost: 120
. "$THAW_SOURCE/tests/cluster/common.sh"
lose_node kill-node
