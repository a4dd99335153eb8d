/*
 * core/codec.h - byte encodings: base64, hex, Crockford base32 for ids, xtext (RFC 3461 4).
 *
 * Encoders append to a buf; decoders write to the caller's memory and refuse anything irregular.
 */
#ifndef GAPURA_CORE_CODEC_H
#define GAPURA_CORE_CODEC_H

#include "core/buf.h"

void codec_base64(struct buf *out, struct str in);
/* Bytes written, or ERR_SYNTAX (bad character, bad padding, stray bits) or ERR_LIMIT. */
ssize_t codec_unbase64(struct str in, void *dst, size_t cap);
void codec_hex(struct buf *out, struct str in); /* lower case */
ssize_t codec_unhex(struct str in, void *dst, size_t cap);
/* 128 bits as 26 characters of lower-case Crockford base32 (no i, l, o, u) and a NUL. */
void codec_id_text(const uint8_t id[16], char dst[27]);
int codec_id_parse(struct str text, uint8_t id[16]); /* case folded; ERR_SYNTAX */
void codec_xtext(struct buf *out, struct str in);
ssize_t codec_unxtext(struct str in, void *dst, size_t cap);

#endif
