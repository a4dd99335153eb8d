/*
 * core/openssl.h - include this, before any other header, instead of OpenSSL's base headers: its
 * typedef ERR_STATE is put out of the way of our error code of the same name.
 */
#ifndef GAPURA_CORE_OPENSSL_H
#define GAPURA_CORE_OPENSSL_H

#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#undef ERR_STATE

#endif
