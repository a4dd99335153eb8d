/*
 * checks/table.h - the inbound checks: one file, one row, one page in docs/checks/ each.
 *
 * The role hands the table to the gate; the pipeline (policy/stage.h) runs its rows. A new check is
 * a row in table.c: see docs/first-check.md.
 */
#ifndef GAPURA_CHECKS_TABLE_H
#define GAPURA_CHECKS_TABLE_H

#include "policy/stage.h"

extern const struct check *const checks_table[];
extern const size_t checks_count;

extern const struct check check_client, check_reverse, check_helo, check_recipient;
extern const struct check check_sender_domain, check_spf, check_dkim, check_arc, check_dmarc;
extern const struct check check_own_domain_spoof, check_alignment, check_sender_key, check_dns_list;

#endif
