/*
 * smtp/ext.h - the extension table: a row tells the keyword, when it is offered, what stands behind
 * it in the EHLO reply, and which parameters of MAIL and RCPT belong to it.
 */
#ifndef GAPURA_SMTP_EXT_H
#define GAPURA_SMTP_EXT_H

#include "smtp/line.h"
#include "smtp/params.h"
#include "smtp/reply.h"

struct smtp_ext_state { /* what a row may look at */
    const struct smtp_server_conf *conf;
    struct str mechs; /* of AUTH, for this session */
    bool tls;
    bool xclient;   /* this client may say XCLIENT */
    uint64_t now_s; /* wall time; 0: unknown here */
    bool esmtp;     /* greeted by EHLO or LHLO: parameters may come */
    bool utf8;      /* SMTPUTF8 holds for the transaction (RCPT) */
};

bool smtp_ext_offered(const struct smtp_ext_state *, enum smtp_ext);
/* "\nKEYWORD params" for each that is offered, to stand behind the first line of the EHLO reply. */
void smtp_ext_list(const struct smtp_ext_state *, struct buf *out);
/* Reads all parameters behind a path; NULL if they are fine, else the reply. Exactly one of mail
 * and rcpt is not NULL. Each parameter may come once. */
const struct smtp_refusal *smtp_ext_params(const struct smtp_ext_state *, struct str params,
                                           struct smtp_mail_params *mail,
                                           struct smtp_rcpt_params *rcpt);

/* smtp/server_xclient.c: the attributes, for the EHLO reply. */
void smtp_xclient_list(const struct smtp_ext_state *, struct buf *out);

#endif
