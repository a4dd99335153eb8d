/*
 * submit/args.h - the options of sendmail, of which programs in the world make use.
 */
#ifndef GAPURA_SUBMIT_ARGS_H
#define GAPURA_SUBMIT_ARGS_H

#include "core/str.h"

enum submit_mode {
    SUBMIT_DELIVER,
    SUBMIT_SMTP,       /* -bs */
    SUBMIT_MAILQ,      /* -bp */
    SUBMIT_NEWALIASES, /* -bi, -I */
    SUBMIT_QUEUE_RUN   /* -q */
};
struct submit_args {
    enum submit_mode mode;
    bool from_header; /* -t */
    bool dots;        /* -i: a line with one dot does not end the message */
    bool verbose;
    const char *sender; /* NULL: the caller's own address */
    const char *full_name;
    const char *envid;
    uint8_t notify, ret; /* bits and words of smtp_client_message and smtp_client_rcpt */
    char **rcpts;
    int nrcpt;
};
/* EX_OK, or EX_USAGE after a sentence on stderr. */
int submit_args(int argc, char **argv, struct submit_args *ret);

#endif
