/*
 * fuzz/fuzz_reply_class.c - replies against the patterns that are compiled in, and the patterns'
 * own form: the first byte says which.
 */
#include <stdlib.h>

#include "courier/reply_class_shape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
classify(const uint8_t *data, size_t n)
{
    static struct reply_classes *set;
    struct reply_input in = {.text = str_of(data, n)};
    struct reply_class_result r, again;
    char shape[200];

    if (!set)
        ENSURE(reply_classes_load(&set, STR_NONE, NULL) == 0);
    if (n > 2) {
        in.code = (uint16_t)(200 + data[n - 1] * 2);
        in.phase = data[n - 2] % REPLY_PHASE_COUNT;
    }
    reply_classify(set, &in, &r);
    ENSURE(r.class < REPLY_CLASS_COUNT && r.confidence >= 1 && r.confidence <= 99);
    ENSURE(r.scope < REPLY_SCOPE_COUNT && r.pattern.n > 0);
    ENSURE(!r.advice.other_source || !reply_class_is_refusal(r.class));
    ENSURE(!r.advice.suppress || !reply_class_is_refusal(r.class));
    reply_classify(set, &in, &again);
    ENSURE(again.class == r.class && again.confidence == r.confidence);
    ENSURE(reply_shape_of(in.text, shape, sizeof shape) < sizeof shape);
}

static void
compile(const uint8_t *data, size_t n)
{
    struct reply_classes *set = NULL;
    struct buf errors;

    buf_init(&errors, 64 << 10);
    if (reply_classes_compile(&set, str_of(data, n), &errors) < 0)
        ENSURE(errors.n > 0 && !set);
    reply_classes_free(set);
    buf_done(&errors);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    if (data[0] == 0xff)
        compile(data + 1, n - 1);
    else
        classify(data, n);
    return 0;
}
