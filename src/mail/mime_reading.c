/*
 * mail/mime_reading.c - names of what is odd in a message, and of the other ways to read it.
 *
 * Called by the parser and by whoever tells people. Tables only.
 */
#include "mail/mime.h"

static const char *const odd_names[MIME_ODD_MAX_] = {
    [MIME_ODD_NO_COLON] = "header_no_colon",
    [MIME_ODD_HEADER_UNENDED] = "header_unended",
    [MIME_ODD_HEADER_CUT] = "header_cut",
    [MIME_ODD_REPEATED_FIELD] = "repeated_field",
    [MIME_ODD_PARAM] = "parameters",
    [MIME_ODD_NO_BOUNDARY] = "no_boundary",
    [MIME_ODD_BOUNDARY_FORM] = "boundary_form",
    [MIME_ODD_BOUNDARY_LIKE] = "boundary_like",
    [MIME_ODD_BOUNDARY_TAIL] = "boundary_tail",
    [MIME_ODD_UNCLOSED] = "unclosed",
    [MIME_ODD_AFTER_CLOSE] = "after_close",
    [MIME_ODD_NO_PARTS] = "no_parts",
    [MIME_ODD_ENCODING] = "encoding",
    [MIME_ODD_ENCODED_MULTIPART] = "encoded_multipart",
    [MIME_ODD_ENCODED_DATA] = "encoded_data",
    [MIME_ODD_BASE64_AFTER_PAD] = "base64_after_pad",
    [MIME_ODD_DEPTH] = "depth",
    [MIME_ODD_PARTS] = "parts",
    [MIME_ODD_NUL] = "nul",
    [MIME_ODD_BARE_CR] = "bare_cr",
    [MIME_ODD_FILENAMES] = "filenames",
    [MIME_ODD_TYPE] = "type",
    [MIME_ODD_TNEF] = "tnef",
    [MIME_ODD_UUENCODE] = "uuencode",
    [MIME_ODD_YENC] = "yenc",
    [MIME_ODD_DISPOSITION] = "disposition",
};

const char *
mime_odd_name(enum mime_odd odd)
{
    return odd < MIME_ODD_MAX_ ? odd_names[odd] : "unknown";
}

static const char *const reading_names[MIME_READINGS] = {
    "last_field",  "innermost",         "undecoded",      "strict",
    "other_param", "stop_at_pad",       "exact_boundary", "reopen",
    "early_body",  "long_header",       "midline",        "like_encoding",
    "preamble",    "decoded_multipart", "bare_cr",        "one_word",
};

const char *
mime_reading_name(uint32_t reading)
{
    for (unsigned i = 0; i < MIME_READINGS; i++) {
        if (reading == 1u << i)
            return reading_names[i];
    }
    return "several";
}

static const uint16_t readings[MIME_ODD_MAX_] = {
    [MIME_ODD_NO_COLON] = MIME_READ_EARLY_BODY,
    [MIME_ODD_HEADER_UNENDED] = MIME_READ_STRICT | MIME_READ_LONG_HEADER,
    [MIME_ODD_REPEATED_FIELD] = MIME_READ_LAST_FIELD,
    [MIME_ODD_PARAM] = MIME_READ_OTHER_PARAM,
    [MIME_ODD_BOUNDARY_LIKE] = MIME_READ_INNERMOST | MIME_READ_EXACT_BOUNDARY,
    [MIME_ODD_BOUNDARY_TAIL] = MIME_READ_EXACT_BOUNDARY,
    [MIME_ODD_UNCLOSED] = MIME_READ_INNERMOST | MIME_READ_MIDLINE,
    [MIME_ODD_AFTER_CLOSE] = MIME_READ_REOPEN,
    [MIME_ODD_NO_PARTS] = MIME_READ_PREAMBLE,
    [MIME_ODD_ENCODING] = MIME_READ_LIKE_ENCODING,
    [MIME_ODD_ENCODED_MULTIPART] = MIME_READ_DECODED_MULTIPART,
    [MIME_ODD_BARE_CR] = MIME_READ_BARE_CR,
    [MIME_ODD_TYPE] = MIME_READ_ONE_WORD,
    [MIME_ODD_ENCODED_DATA] = MIME_READ_UNDECODED,
    [MIME_ODD_BASE64_AFTER_PAD] = MIME_READ_STOP_AT_PAD,
    [MIME_ODD_UUENCODE] = MIME_READ_UNDECODED,
    [MIME_ODD_DISPOSITION] = MIME_READ_STRICT,
};

uint32_t
mime_odd_readings(enum mime_odd odd)
{
    return odd < MIME_ODD_MAX_ ? readings[odd] : 0;
}
