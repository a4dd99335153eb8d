/*
 * roles/settings.c - rows of the program-wide settings and the list of every block.
 *
 * Read by the loader role, `gapura check` and the generator of gapura.conf(5).
 */
#include "roles/settings.h"

#include "auth/dns_list.h"
#include "auth/settings.h"
#include "core/clock.h"
#include "core/lang.h"
#include "courier/settings.h"
#include "gate/settings.h"
#include "policy/profile.h"
#include "spool/format.h"
#include "store/settings.h"
#include "store/settings_reports.h"

static const struct conf_row spool_rows[] = {
    {.name = "dir",
     CONF_ROW(PATH, struct settings_spool, dir, .def = "/var/spool/gapura", .flags = CONF_RESTART,
              .doc = "Directory of the log that is the queue. Put it on a disk whose flush can be "
                     "trusted. One of its own: it is made, and given to the spooler's user; a "
                     "directory that holds other things is left as it is.")},
    {.name = "segment",
     CONF_ROW(SIZE, struct settings_spool, segment, .def = "64 MB", .min = 4u << 20,
              .max = 1u << 30, .flags = CONF_RESTART,
              .doc = "Size of one segment file. Existing files keep theirs.")},
    {.name = "quota",
     CONF_ROW(SIZE, struct settings_spool, quota, .def = "0", .flags = CONF_RESTART,
              .doc =
                  "Most bytes that all segments may take, at least those of `reserve` and `ready`; "
                  "0 leaves it to the disk. Near it new mail is answered with 452 4.3.1, and mail "
                  "that waits goes on.")},
    {.name = "min_free",
     CONF_ROW(SIZE, struct settings_spool, min_free, .def = "256 MB", .flags = CONF_RESTART,
              .doc = "Bytes of the file system that are left alone.")},
    {.name = "reserve",
     CONF_ROW(U64, struct settings_spool, reserve, .def = "4", .min = 2, .max = 64,
              .flags = CONF_RESTART,
              .doc = "Segments kept for outcomes and compaction: intake never gets them.")},
    {.name = "ready",
     CONF_ROW(U64, struct settings_spool, ready, .def = "8", .min = 2, .max = 4096,
              .flags = CONF_RESTART,
              .doc = "Pre-written free segments to have at hand: writing into them needs no block "
                     "allocation, so a sync is cheap.")},
    {.name = "slack",
     CONF_ROW(U64, struct settings_spool, slack, .def = "5", .min = 3, .max = 90,
              .flags = CONF_RESTART,
              .doc = "Percent of the full segments that settled mail may take: when little is "
                     "received and sent, compaction goes on until it is less. The segments being "
                     "written and the free ones are not counted.")},
    {.name = "ring",
     CONF_ROW(SIZE, struct settings_spool, ring, .def = "32 MB", .min = 1u << 20, .max = 1u << 30,
              .flags = CONF_RESTART,
              .doc = "Memory ring of each writer, a power of two: what was just written is "
                     "delivered from it without reading the disk.")},
    {.name = "max_batch",
     CONF_ROW(SIZE, struct settings_spool, max_batch, .def = "4 MB", .min = 512u << 10,
              .max = 64u << 20, .flags = CONF_RESTART,
              .doc = "Most bytes written with one sync; at most a quarter of the ring.")},
};
uint64_t
settings_spool_room(const struct settings_spool *sp)
{
    return MIN(MIN(sp->max_batch, sp->ring / 4), sp->segment - SPOOL_UNIT);
}

static void
spool_check(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_spool *sp = s->data;
    uint64_t least = (sp->reserve + sp->ready) * sp->segment;
    char want[32], have[32];

    if (sp->ring & (sp->ring - 1))
        conf_fail_row(errs, s, "ring",
                      "spool.ring is a power of two: write for example 16 MB, 32 MB or 64 MB");
    if (sp->quota && sp->quota < least)
        conf_fail_row(
            errs, s, "quota",
            "spool.quota %s is less than the segments kept ready and in reserve take: with "
            "reserve %llu, ready %llu and segment %s it must be %s or more, or 0",
            str_show_size(sp->quota, have), (unsigned long long)sp->reserve,
            (unsigned long long)sp->ready, str_show_size(sp->segment, (char[32]){0}),
            str_show_size(least, want));
}

static const struct conf_block spool_block = {
    .name = "spool",
    .size = sizeof(struct settings_spool),
    .rows = spool_rows,
    .nrows = ARRAY_LEN(spool_rows),
    .doc = "The durable log of accepted mail.",
    .check = spool_check,
};

static const char *const events_words[] = {"file", "syslog", "journald", "stderr", "none", NULL};
static const struct conf_row events_rows[] = {
    {.name = "to",
     CONF_ROW(WORD, struct settings_events, to, .def = "file", .words = events_words,
              .doc = "Where events go, one JSON object a line.")},
    {.name = "file",
     CONF_ROW(PATH, struct settings_events, file, .def = "/var/log/gapura/events.jsonl",
              .doc = "The file, for `to = file`.")},
    {.name = "rotate_size",
     CONF_ROW(SIZE, struct settings_events, rotate_size, .def = "256 MB", .min = 1u << 20,
              .doc = "The file is renamed to FILE.1 and begun anew above this size.")},
    {.name = "keep",
     CONF_ROW(U64, struct settings_events, keep, .def = "8", .min = 1, .max = 1000,
              .doc = "Rotated files kept; the oldest goes first.")},
    {.name = "language",
     CONF_ROW(WORD, struct settings_events, language, .def = "en", .words = lang_names,
              .doc = "Language of notices, warnings and alarms: English or Indonesian. Names of "
                     "events and fields stay as they are.")},
};
static const struct conf_block events_block = {
    .name = "events",
    .size = sizeof(struct settings_events),
    .rows = events_rows,
    .nrows = ARRAY_LEN(events_rows),
    .doc = "Events: receptions, refusals, deliveries, retries, bounces (docs/events.md).",
};

static const struct conf_row dns_rows[] = {
    {.name = "forward",
     CONF_ROW(ENDPOINTS, struct settings_dns, forward, .min = 53, .flags = CONF_RESTART,
              .doc = "Resolvers to ask. Without them the resolver role recurses from the roots.")},
    {.name = "trust_anchor",
     CONF_ROW(PATH, struct settings_dns, trust_anchor, .flags = CONF_RESTART,
              .doc = "Root key file: answers are validated with DNSSEC.")},
    {.name = "local_data",
     CONF_ROW(PATH, struct settings_dns, local_data, .flags = CONF_RESTART,
              .doc =
                  "File of records that overrule the network, for a lab: a line each, as `a.test. "
                  "IN A 192.0.2.1`; `local-zone: . static` first keeps all other questions "
                  "from leaving (unbound.conf(5) tells the types).")},
    {.name = "timeout",
     CONF_ROW(DURATION, struct settings_dns, timeout, .def = "10s", .min = 100000000u,
              .flags = CONF_RESTART, .doc = "An answer is given at the latest after this.")},
    {.name = "cache",
     CONF_ROW(U64, struct settings_dns, cache, .def = "20000", .min = 100, .max = 10000000,
              .flags = CONF_RESTART, .doc = "Answers remembered by each role that asks.")},
};
static const struct conf_block dns_block = {
    .name = "dns",
    .size = sizeof(struct settings_dns),
    .rows = dns_rows,
    .nrows = ARRAY_LEN(dns_rows),
    .doc = "The resolver.",
};

static const struct conf_row control_rows[] = {
    {.name = "dir",
     CONF_ROW(PATH, struct settings_control, dir, .def = "/run/gapura", .flags = CONF_RESTART,
              .doc = "Directory of the control sockets that `gapura queue` and kin speak to.")},
    {.name = "metrics",
     CONF_ROW(ENDPOINT, struct settings_control, metrics, .min = 9125, .flags = CONF_RESTART,
              .doc =
                  "Address of the Prometheus page, for example 127.0.0.1:9125; off without it.")},
    {.name = "store",
     CONF_ROW(PATH, struct settings_control, store, .def = "/var/lib/gapura/store.db",
              .flags = CONF_RESTART,
              .doc = "The SQLite file with users and other settings that change at run time, in a "
                     "directory of its own (as `spool.dir` is one), for the keeper's user. Back it "
                     "up.")},
    {.name = "watchdog",
     CONF_ROW(DURATION, struct settings_control, watchdog, .def = "5m",
              .doc = "Each role is asked this often whether it still answers. One that has not "
                     "answered twice hangs: it is ended, started again, and an Alarm names it. Not "
                     "while it is at its start, stopped by a signal or a debugger, or waiting for "
                     "its disk; time that the machine slept does not count. 0: nobody is asked.")},
};
static void
control_check(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_control *co = s->data;

    if (co->watchdog && co->watchdog < NS_PER_S)
        conf_fail_row(errs, s, "watchdog",
                      "control.watchdog is 1s or more (5m is good), or 0 for none");
}

static const struct conf_block control_block = {
    .name = "control",
    .size = sizeof(struct settings_control),
    .rows = control_rows,
    .nrows = ARRAY_LEN(control_rows),
    .doc = "Control sockets, metrics, the store, and the watch over the roles.",
    .check = control_check,
};

const struct conf_block *const roles_blocks[] = {
    &settings_main_block,
    &gate_listen_block,
    &gate_smtp_block,
    &settings_domain_block,
    &settings_tenant_block,
    &settings_sender_block,
    &settings_auth_block,
    &gate_check_block,
    &policy_profile_block,
    &gate_srs_block,
    &courier_source_block,
    &courier_pool_block,
    &courier_route_block,
    &courier_delivery_block,
    &spool_block,
    &events_block,
    &dns_block,
    &control_block,
    &auth_verify_block,
    &auth_dns_list_block,
    &settings_dkim_block,
    &settings_arc_block,
    &settings_reports_block,
};
const size_t roles_nblocks = ARRAY_LEN(roles_blocks);
