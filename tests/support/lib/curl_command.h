/*
 * tests/support/lib/curl_command.h - what a command line of curl's suite orders.
 */
#ifndef GAPURA_TESTS_CURL_COMMAND_H
#define GAPURA_TESTS_CURL_COMMAND_H

#include "curl_file.h"

#define MAX_RCPTS 20

struct order { /* one message, from the command line */
    struct str url, from, upload, user, password;
    struct str rcpts[MAX_RCPTS];
    unsigned nrcpt;
    bool has_upload, allow_fails, crlf, sasl_ir;
    enum { TLS_NO, TLS_TRY, TLS_NEED } tls;
};

/* Next word as a shell would take it, its bytes in `all`: whose memory must not move. */
bool curl_word(struct str *rest, struct buf *all, struct str *ret);
/* Orders up to the end or to "-:"; NULL or why the case is not for us. */
const char *curl_command(struct order *o, const struct curl_file *file, struct str *rest,
                         struct buf *words);

#endif
