/*
 * spool/admission.c - the admission law: limits in the order in which they decide.
 *
 * Called by gate and desk before they take a message. Pure numbers in, a verdict and the limit's
 * name out; never asks anybody, never keeps state. Lesser classes meet each limit earlier, so that
 * what remains of a full system serves mail that people wait for.
 */
#include "spool/admission.h"

#define MS UINT64_C(1000000)

/* Part of a resource, in percent, that a class may fill. */
static const uint8_t share_percent[ADMISSION_CLASSES] = {
    [ADMISSION_BULK_API] = 70,      [ADMISSION_BULK_SUBMISSION] = 80, [ADMISSION_STRANGER] = 90,
    [ADMISSION_TRANSACTIONAL] = 95, [ADMISSION_INSIDE] = 98,
};

static struct admission_result
decided(enum admission_verdict verdict, const char *limit)
{
    return (struct admission_result){.verdict = verdict, .limit = limit};
}

/* used has reached percent % of limit; doubles, since the product may pass 64 bits. */
static bool
over(uint64_t used, uint64_t limit, uint64_t percent)
{
    return limit > 0 && (double)used * 100 >= (double)limit * (double)percent;
}

/* A message that the class may not lay into what is left: intake keeps room for better classes. */
static bool
space_is_short(enum admission_class c, const struct admission_input *in)
{
    uint64_t kept;

    if (in->spool_bytes_total == 0)
        return false;
    kept = in->spool_bytes_total / 100 * (100u - share_percent[c]);

    return in->spool_bytes_left <= kept || in->spool_bytes_left - kept < in->message_bytes;
}

struct admission_result
admission(enum admission_class c, const struct admission_input *in,
          const struct admission_limits *limits)
{
    struct admission_result slow = decided(ADMIT, "");
    uint64_t behind;

    if (!in->writer_ready)
        return decided(ADMIT_LATER, "spool-writer");
    if (over(in->descriptors_used, in->descriptors_limit, share_percent[c]))
        return decided(ADMIT_NONE, "descriptors");
    if (over(in->memory_used, in->memory_limit, share_percent[c]))
        return decided(ADMIT_NONE, "memory");
    if (space_is_short(c, in))
        return decided(ADMIT_LATER, "spool-space");
    if (limits->waiting[c] && in->waiting >= limits->waiting[c])
        return decided(ADMIT_LATER, "waiting");
    if (limits->unsynced_stop_ns && in->oldest_unsynced_ns >= limits->unsynced_stop_ns)
        return decided(ADMIT_LATER, "unsynced");
    if (limits->unsynced_slow_ns && in->oldest_unsynced_ns >= limits->unsynced_slow_ns) {
        behind = in->oldest_unsynced_ns - limits->unsynced_slow_ns;
        slow = decided(ADMIT_SLOWLY, "unsynced");
        slow.slow_ns = MIN(100 * MS + behind, 5000 * MS);
    }
    /* The keeper's lag hurts nobody who waits; only bulk gives way to it. */
    if (limits->keeper_lag_ns && in->keeper_lag_ns >= limits->keeper_lag_ns) {
        if (c == ADMISSION_BULK_API || c == ADMISSION_BULK_SUBMISSION)
            return decided(ADMIT_LATER, "keeper-lag");
        if (c == ADMISSION_STRANGER && slow.verdict == ADMIT) {
            slow = decided(ADMIT_SLOWLY, "keeper-lag");
            slow.slow_ns = 500 * MS;
        }
    }
    return slow;
}
