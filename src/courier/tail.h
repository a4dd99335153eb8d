/*
 * courier/tail.h - one live stream of another role, as the courier follows it (courier/follow.c).
 */
#ifndef GAPURA_COURIER_TAIL_H
#define GAPURA_COURIER_TAIL_H

#include "net/loop.h"
#include "spool/reader.h"
#include "spool/share.h"

#define COURIER_TAILS 64u /* streams at a time; one that has ended counts until it is read */

struct courier;
struct courier_tail {
    struct courier *c;
    struct spool_tail *tail;
    struct spool_share share; /* our own mapping, for bodies; the tail has another */
    bool has_share;
    struct loop_io *wake;
    struct loop_call again;
    uint32_t epoch, before; /* epochs of the stream between the two were followed by nobody */
    uint16_t stream;
    struct spool_listing missed; /* segments of those epochs, while they are read */
    size_t missed_at;
    struct spool_epoch *missed_epoch;
    struct tail_wait { /* for the disk, which did not give what was asked for */
        unsigned tries;
        uint64_t until; /* mono */
    } wait, missed_wait;
    struct loop_timer timer; /* until one of them is over */
    bool caught_up;          /* once: early outcomes of this epoch may go */
    bool failed;             /* not read on in this life: it would begin anew, or behind a gap */
    bool ended;    /* its writer was followed by another one: read to the end, then closed */
    bool finished; /* it is read to the end; what was missed before it is not */
};

#endif
