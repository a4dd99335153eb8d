/*
 * auth/dkim_crypto_inner.h - the fetched algorithms, between the crypto files of this room.
 */
#ifndef GAPURA_AUTH_DKIM_CRYPTO_INNER_H
#define GAPURA_AUTH_DKIM_CRYPTO_INNER_H

#include "core/openssl.h"

struct dkim_algs {
    EVP_MD *sha256, *sha1;
};
const struct dkim_algs *dkim_algs_get(void); /* NULL: the library has no SHA-256 */

#endif
