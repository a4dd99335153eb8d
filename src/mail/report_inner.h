/*
 * mail/report_inner.h - the readers behind mail/report.h, for mail/report*.c only.
 */
#ifndef GAPURA_MAIL_REPORT_INNER_H
#define GAPURA_MAIL_REPORT_INNER_H

#include "core/buf.h"
#include "mail/report.h"

/* Takes packing off: what is not packed goes to `out` as it comes. */
struct report_unpack;
int report_unpack_open(struct report_unpack **ret, const struct report_limits *,
                       int (*out)(void *ctx, const char *p, size_t n, struct why *why), void *ctx);
int report_unpack_feed(struct report_unpack *, const char *p, size_t n, struct why *why);
int report_unpack_end(struct report_unpack *, struct why *why);
/* Bytes that came out of all layers so far: what the unpacking has cost. */
uint64_t report_unpack_spent(const struct report_unpack *);
void report_unpack_close(struct report_unpack *);

/* The same of a file that is read. */
uint64_t report_spent(const struct report_reader *);

/* XML, pushed. `done`: the report's last element has come, what follows does not count. */
struct report_xml;
int report_xml_open(struct report_xml **ret, const struct report_limits *, struct arena *);
int report_xml_feed(struct report_xml *, const char *p, size_t n, struct why *why);
int report_xml_end(struct report_xml *, struct report_dmarc **ret, struct why *why);
bool report_xml_is_report(const struct report_xml *); /* its root came */
void report_xml_close(struct report_xml *);

/* JSON, whole. *ret_ours: it has the members of a report, good or bad. */
int report_json_read(struct str text, const struct report_limits *, struct arena *,
                     struct report_tls **ret, bool *ret_ours, struct why *why);

/* Control characters, which would forge lines for the next reader, become spaces. */
void report_spaces(char *p, size_t n);

/* A message/feedback-report block (any line ends); false: not of type auth-failure. */
bool report_failure_read(struct str block, struct arena *, struct report_failure *ret);
/* The words of a report without that block; false: not of a form that is known. */
bool report_failure_text(struct str text, struct arena *, struct report_failure *ret);
/* Keeps the header of the mail that failed. */
void report_failure_original(struct str header, struct arena *, struct report_failure *);

#endif
