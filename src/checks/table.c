/*
 * checks/table.c - the list of checks. Their order inside a stage is by cost, not by this list.
 */
#include "checks/table.h"

const struct check *const checks_table[] = {
    &check_client,   &check_reverse,          &check_helo,      &check_sender_domain,
    &check_spf,      &check_recipient,        &check_dkim,      &check_arc,
    &check_dmarc,    &check_own_domain_spoof, &check_alignment, &check_sender_key,
    &check_dns_list,
};
const size_t checks_count = ARRAY_LEN(checks_table);
