#!/usr/bin/env bash
# SIGKILL of each rank in each phase of preparing and training: everyone is gone, and the rerun, on any ranks, ends with the
# bytes of an uninterrupted run and no other files.
# labels: kill
# cost: 90
. "$THAW_SOURCE/tests/fault/common"

make_inputs
make_whole prepare train
kill_in_phases prepare read:1 shuffle:1 merge:1 write:1 commit:1 publish:1 end:1
kill_in_phases train load:1 exchange:7 solve:7 checkpoint:2 commit:2 publish:2 end:1
finish
