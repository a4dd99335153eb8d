/*
 * tests/support/lib/curl_server.h - the server that a case of curl's suite describes.
 */
#ifndef GAPURA_TESTS_CURL_SERVER_H
#define GAPURA_TESTS_CURL_SERVER_H

#include "core/buf.h"

#define MAX_REPLIES 40

struct curl_server {
    struct str keys[MAX_REPLIES], texts[MAX_REPLIES];
    unsigned nreplies;
    struct buf caps; /* words, one a line */
    struct str mechs;
    struct buf in, out;
    bool data, utf8;
    uint64_t max_size;
    struct buf lines, body; /* as they came in */
};
void curl_server_init(struct curl_server *s);
void curl_server_done(struct curl_server *s);
/* Takes <servercmd>, which has to stay; NULL or why it cannot be played. */
const char *curl_server_orders(struct curl_server *s, struct str text);
void curl_server_greet(struct curl_server *s); /* a new connection */
bool curl_server_run(struct curl_server *s);   /* false: nothing more can be done with s->in */
/* A PLAIN message whose authzid is the authcid means what it means with none (RFC 4616 2): its form
 * without. Other text stays as it is. */
void curl_plain_form(struct str line, struct buf *out);

#endif
