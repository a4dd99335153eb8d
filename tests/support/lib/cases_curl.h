/*
 * tests/support/lib/cases_curl.h - SMTP cases in the form of curl's test suite: the replies of a
 * fake server, a command line, the lines the client has to say and the body it has to send.
 */
#ifndef GAPURA_TESTS_CASES_CURL_H
#define GAPURA_TESTS_CASES_CURL_H

#include <stdbool.h>

bool cases_curl_matches(const char *path); /* looks into the file */
void cases_curl_run(const char *path);     /* one cases_ok() or cases_skip() */

#endif
