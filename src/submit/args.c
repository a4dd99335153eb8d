/*
 * submit/args.c - the options of sendmail: those that mean something here, those that do no harm.
 *
 * Called by sendmail.c. Refuses modes that would promise what does not happen (-bd, -bv, -bt);
 * options that only tune another program's queue are taken and left alone.
 */
#include "submit/args.h"

#include <sysexits.h>
#include <unistd.h>

/* GNU getopt's "+": options end at the first recipient, as they do in sendmail. */
#define OPTIONS "+:A:B:C:D:F:GIL:M:N:O:R:S:UV:X:b:cd::e:f:h:imno:p:q::r:stv"

static int
usage(const char *what, const char *value)
{
    fprintf(stderr, "sendmail: %s%s%s; sendmail(8) lists what is understood\n", what,
            value ? " " : "", value ? value : "");
    return EX_USAGE;
}

static int
take_mode(const char *text, struct submit_args *ret)
{
    static const struct {
        char letter;
        enum submit_mode mode;
    } modes[] = {
        {'m', SUBMIT_DELIVER}, {'s', SUBMIT_SMTP}, {'p', SUBMIT_MAILQ}, {'i', SUBMIT_NEWALIASES}};

    for (size_t i = 0; i < ARRAY_LEN(modes) && text[0] && !text[1]; i++) {
        if (modes[i].letter != text[0])
            continue;
        ret->mode = modes[i].mode;
        return EX_OK;
    }
    if (text[0] == 'd' || text[0] == 'D')
        return usage("-bd: the server is `gapura run`, started by the service gapura, not", "-bd");
    return usage("no such mode: -b", text);
}

/* "never" or a list of success, failure and delay. */
static int
take_notify(const char *text, struct submit_args *ret)
{
    static const char *const words[] = {"never", "success", "failure", "delay"};
    struct str rest = str_c(text);

    ret->notify = 0;
    while (rest.n) {
        struct str word = str_trim(str_cut(rest, ',', &rest));
        size_t i = 0;

        while (i < ARRAY_LEN(words) && !str_ieq(word, str_c(words[i])))
            i++;
        if (i == ARRAY_LEN(words))
            return usage("-N wants never, or a list of success, failure and delay, not", text);
        ret->notify |= (uint8_t)(1u << i);
    }
    if ((ret->notify & 1) && ret->notify != 1)
        return usage("-N: never stands alone, not with others:", text);
    return EX_OK;
}

static int
take_ret(const char *text, struct submit_args *ret)
{
    if (!str_ieq(str_c(text), STR("full")) && !str_ieq(str_c(text), STR("hdrs")))
        return usage("-R wants full or hdrs, not", text);
    ret->ret = text[0] == 'f' || text[0] == 'F' ? 1 : 2;
    return EX_OK;
}

static int
take(int option, const char *value, struct submit_args *ret)
{
    switch (option) {
    case 'b':
        return take_mode(value, ret);
    case 'F':
        ret->full_name = value;
        return EX_OK;
    case 'f':
    case 'r':
        ret->sender = value;
        return EX_OK;
    case 'I':
        ret->mode = SUBMIT_NEWALIASES;
        return EX_OK;
    case 'i':
        ret->dots = true;
        return EX_OK;
    case 'o': /* -oi; -oem, -odb and the like are of no matter here */
        ret->dots |= value[0] == 'i' && (!value[1] || !strcmp(value, "iTrue"));
        ret->verbose |= !strcmp(value, "v");
        return EX_OK;
    case 'N':
        return take_notify(value, ret);
    case 'R':
        return take_ret(value, ret);
    case 'V':
        ret->envid = value;
        return EX_OK;
    case 'q':
        ret->mode = SUBMIT_QUEUE_RUN;
        return EX_OK;
    case 't':
        ret->from_header = true;
        return EX_OK;
    case 'v':
        ret->verbose = true;
        return EX_OK;
    default:
        return EX_OK;
    }
}

int
submit_args(int argc, char **argv, struct submit_args *ret)
{
    char name[3] = "-?";
    int option, status;

    *ret = (struct submit_args){0};
    opterr = 0;
    while ((option = getopt(argc, argv, OPTIONS)) != -1) {
        name[1] = (char)optopt;
        if (option == ':')
            return usage("a value is missing behind", name);
        if (option == '?')
            return usage("no such option:", name);
        status = take(option, optarg, ret);
        if (status != EX_OK)
            return status;
    }
    ret->rcpts = argv + optind;
    ret->nrcpt = argc - optind;
    return EX_OK;
}
