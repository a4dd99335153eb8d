/*
 * courier/dest.h - routing of destinations: what dest.c and dest_mx.c share.
 */
#ifndef GAPURA_COURIER_DEST_H
#define GAPURA_COURIER_DEST_H

#include "courier/site.h"

struct dest_way {                      /* what the settings say; none set: MX */
    const struct conf_section *route;  /* block route */
    const struct conf_section *inside; /* block domain */
    bool backup;                       /* a domain that we are the backup of: by MX */
    bool reader;                       /* reports, to be read by the scan role */
};
void dest_way(const struct courier *, const struct index_dest *, struct dest_way *ret);
/* The index tells that a lane has rows now, or none. */
void dest_lane_changed(void *courier, uint32_t lane, bool filled);
void dest_join(struct courier *, uint32_t dest, struct site *, uint32_t fresh_until);
/* Copies a route's settings into a fresh site; NULL route: nothing. */
bool dest_site_set(struct courier *, struct site *, const struct settings_route *);

/* dest_mx.c */
struct mx_result;
/* The site of exactly these hosts, made if there is none; NULL: no memory, or too many that are
 * named alike. */
struct site *dest_mx_site(struct courier *, const struct conf_section *route,
                          const struct mx_result *);
void dest_mx_ask(struct courier *, uint32_t dest, const struct dest_way *);
struct result;
void dest_mx_cancel(struct index_dest *);

#endif
