/*
 * store/settings_reports.c - rows of the settings of received reports.
 *
 * Read by the parser, by `gapura check` and by the generator of the manual; used by gate, scan and
 * keeper.
 */
#include "store/settings_reports.h"

#include "core/clock.h"
#include "mail/address.h"

#define DAY (86400 * NS_PER_S)

static const char *const mail_words[] = {"deliver", "drop", NULL};

static const struct conf_row reports_rows[] = {
    {.name = "addresses",
     CONF_ROW(TEXTS, struct settings_reports, addresses,
              .doc = "Addresses of ours at which DMARC aggregate reports and TLS reports arrive: "
                     "those that DNS names behind rua=mailto:. What such mail brings is read and "
                     "kept; `gapura report list` shows it. Without any nothing is read.")},
    {.name = "mail",
     CONF_ROW(WORD, struct settings_reports, mail, .def = "deliver", .words = mail_words,
              .doc = "What becomes of the mail itself. deliver: it goes where mail to the address "
                     "goes anyhow. drop: it is gone once its report is in the store, and the "
                     "address needs no mailbox; what could not be read is set aside in the queue "
                     "for `delivery.expire`.")},
    {.name = "max_size",
     CONF_ROW(SIZE, struct settings_reports, max_size, .def = "10 MB", .min = 64u << 10,
              .max = 256u << 20,
              .doc = "Largest file in such a mail that is read, as it comes (packed).")},
    {.name = "max_unpacked",
     CONF_ROW(SIZE, struct settings_reports, max_unpacked, .def = "64 MB", .min = 64u << 10,
              .max = 1u << 30,
              .doc =
                  "Most bytes that all files of a mail together may unpack to; more is taken for a "
                  "bomb and not read.")},
    {.name = "max_records",
     CONF_ROW(U64, struct settings_reports, max_records, .def = "50000", .min = 100, .max = 1000000,
              .doc = "Most records of one report; one with more is not read.")},
    {.name = "keep",
     CONF_ROW(DURATION, struct settings_reports, keep, .def = "400d", .min = DAY,
              .max = 36500 * DAY, .doc = "How long a report stays in the store.")},
    {.name = "keep_records",
     CONF_ROW(U64, struct settings_reports, keep_records, .def = "1000000", .min = 1000,
              .max = 100000000,
              .doc = "Most records of all reports in the store together. Where texts are long, "
                     "512 bytes count as a record, so the default is 0.5 GB, and some more of "
                     "the store's own. Above it reports whose sender was not proved go first, then "
                     "the oldest of the organisation that has most.")},
};

static void
check_reports(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_reports *r = s->data;
    const struct str *items = r->addresses.items;
    struct address a;

    for (size_t i = 0; i < r->addresses.n; i++)
        if (address_parse(items[i], ADDRESS_ALLOW_UTF8, &a) < 0 || !a.domain.n)
            conf_fail_row(
                errs, s, "addresses",
                "block `reports`: `addresses` has `%.*s`, which is not an address; write for "
                "example dmarc@example.com",
                STR_ARG(items[i]));
    if (r->keep_records < r->max_records)
        conf_fail_row(
            errs, s, "keep_records",
            "block `reports`: `keep_records` is less than `max_records`: not even one such "
            "report could stay");
}

const struct conf_block settings_reports_block = {
    .name = "reports",
    .size = sizeof(struct settings_reports),
    .rows = reports_rows,
    .nrows = ARRAY_LEN(reports_rows),
    .doc = "Reports that others send about our mail: DMARC aggregate reports (RFC 9990, RFC 7489) "
           "and TLS reports (RFC 8460). docs/operations.md tells what they say.",
    .check = check_reports,
};

const struct settings_reports *
settings_reports(const struct conf *conf)
{
    const struct conf_section *s = conf_first(conf, "reports");

    return s ? s->data : NULL;
}

struct str
settings_reports_find(const struct settings_reports *r, struct str address)
{
    const struct str *items = r ? r->addresses.items : NULL;

    for (size_t i = 0; r && i < r->addresses.n; i++)
        if (str_ieq(items[i], address))
            return items[i];
    return STR_NONE;
}
