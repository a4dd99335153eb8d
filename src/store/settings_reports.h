/*
 * store/settings_reports.h - the settings of reports that others send us (DMARC, TLS): read by the
 * gate (which mail brings them), the scan (how large one may be) and the keeper (how long they
 * stay).
 */
#ifndef GAPURA_STORE_SETTINGS_REPORTS_H
#define GAPURA_STORE_SETTINGS_REPORTS_H

#include "core/conf.h"

/* The transport that the gate writes beside such a recipient, and the courier knows. */
#define REPORTS_VIA "reports"

enum settings_reports_mail { REPORTS_MAIL_DELIVER, REPORTS_MAIL_DROP };
struct settings_reports {       /* block "reports" */
    struct conf_list addresses; /* texts: addresses of ours */
    int mail;                   /* enum settings_reports_mail: what becomes of the mail itself */
    uint64_t max_size;          /* of the file in the mail, as it comes */
    uint64_t max_unpacked;
    uint64_t max_records;  /* of one report */
    uint64_t keep;         /* ns that a report stays in the store */
    uint64_t keep_records; /* of all reports together */
};
extern const struct conf_block settings_reports_block;

/* NULL: parsed without that block. */
const struct settings_reports *settings_reports(const struct conf *);
/* Does mail to that address bring reports? The address as the settings have it; empty: no. NULL is
 * fine. */
struct str settings_reports_find(const struct settings_reports *, struct str address);

#endif
