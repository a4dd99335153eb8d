/*
 * spool/admission.h - one pure law: may this class of mail come in now?
 *
 * Inputs are numbers that roles publish; the output names the limit that decided, for the reply,
 * the event and `gapura top`.
 */
#ifndef GAPURA_SPOOL_ADMISSION_H
#define GAPURA_SPOOL_ADMISSION_H

#include "core/base.h"

enum admission_class { /* who asks, least important first */
                       ADMISSION_BULK_API,
                       ADMISSION_BULK_SUBMISSION,
                       ADMISSION_STRANGER,
                       ADMISSION_TRANSACTIONAL,
                       ADMISSION_INSIDE,
                       ADMISSION_CLASSES
};
enum admission_verdict { ADMIT, ADMIT_SLOWLY, ADMIT_LATER /* 452 */, ADMIT_NONE /* 421 */ };

struct admission_input {
    uint64_t spool_bytes_left; /* what intake may take; total 0: not known, no limit */
    uint64_t spool_bytes_total;
    uint64_t message_bytes; /* declared SIZE; 0 unknown */
    uint64_t waiting;       /* recipients waiting */
    uint64_t oldest_unsynced_ns;
    uint64_t keeper_lag_ns;
    uint64_t memory_used, memory_limit;
    uint64_t descriptors_used, descriptors_limit;
    bool writer_ready;
};
struct admission_limits { /* settings; 0 disables a limit */
    uint64_t waiting[ADMISSION_CLASSES];
    uint64_t unsynced_slow_ns, unsynced_stop_ns;
    uint64_t keeper_lag_ns;
};
struct admission_result {
    enum admission_verdict verdict;
    const char *limit; /* name of the limit that decided; "" if admitted */
    uint64_t slow_ns;  /* ADMIT_SLOWLY: wait this long before the reply */
};
struct admission_result admission(enum admission_class, const struct admission_input *,
                                  const struct admission_limits *);

#endif
