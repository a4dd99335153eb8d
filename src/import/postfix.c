/*
 * import/postfix.c - `gapura import postfix DIR [-o FILE]`: settings out, a summary on stderr.
 *
 * Called by roles/main.c. What has no equivalent here is a comment with the reason, in the place
 * where an administrator will read it; nothing is left out in silence.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/words.h"
#include "import/import.h"
#include "import/inner.h"

#define TEXT_MAX (64u << 20)

void
note(struct import *im, const char *name, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    buf_fmt(&im->notes, "# %s: %s\n", name, text);
    im->commented++;
}

void
put(struct import *im, const char *fmt, ...)
{
    char text[8192];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        im->status = 1;
        fprintf(stderr, "gapura: a line of the settings is too long: %.60s...\n", text);
        return;
    }
    buf_c(&im->text, text);
    buf_char(&im->text, '\n');
    im->carried += strchr(text, '=') != NULL;
}

static void
import_main_block(struct import *im)
{
    struct str host = maincf_get(&im->cf, "myhostname");

    maincf_get(&im->cf, "mydomain");
    maincf_get(&im->cf, "myorigin");
    if (!domain_like(host)) {
        note(im, "myhostname", "\"%.*s\" is no host name", STR_ARG(str_sub(host, 0, 100)));
        host = STR("mail.invalid");
    }
    buf_fmt(&im->text,
            "# Made by `gapura import postfix` from %.*s. Read the comments at the end: they say\n"
            "# what was not carried over, and why. Then: gapura check -c THIS-FILE\n\n",
            STR_ARG(str_sub(im->cf.dir, 0, 200)));
    put(im, "hostname = %.*s", STR_ARG(host));
}

/* Beside the file, then in its place: a reader never sees half of it. */
static int
write_out(struct import *im)
{
    FILE *f = stdout;
    char name[4096];
    bool bad;

    if (im->out_file) {
        str_fmt(name, sizeof(name), "%s.new", im->out_file);
        f = fopen(name, "we");
    }
    if (!f) {
        fprintf(stderr, "gapura: cannot write %s: %s\n", name, strerror(errno));
        return 1;
    }
    fwrite(im->text.p, 1, im->text.n, f);
    if (im->commented)
        fprintf(f, "\n# Not carried over\n#\n%.*s", (int)im->notes.n, im->notes.p);
    bad = ferror(f) || fflush(f);
    if (im->out_file)
        bad |= fclose(f) || rename(name, im->out_file);
    if (bad)
        fprintf(stderr, "gapura: writing failed: %s\n", strerror(errno));
    return bad;
}

static int
import_postfix(struct import *im, const char *dir)
{
    struct why why = {{0}};

    if (maincf_read(&im->cf, dir, &why) < 0) {
        fprintf(stderr, "gapura: %s\n", why.text);
        return 1;
    }
    import_main_block(im);
    import_listeners(im);
    import_domains(im);
    import_delivery(im);
    import_restrictions(im);
    import_rest(im);
    if (im->text.failed || im->notes.failed) {
        fprintf(stderr, "gapura: the settings would be over %u MB\n", TEXT_MAX >> 20);
        return 1;
    }
    if (write_out(im))
        return 1;
    fprintf(stderr,
            "gapura: %u settings carried over, %u comments on what was not (at the end of %s)\n",
            im->carried, im->commented, im->out_file ? im->out_file : "the output");
    return im->status;
}

int
import_main(int argc, char **argv)
{
    static struct import im;
    struct args a;
    int status;

    if (!words_take(argc, argv, &a, &status))
        return status;
    im.out_file = json_string_value(json_object_get(a.json, "o"));
    buf_init(&im.text, TEXT_MAX);
    buf_init(&im.notes, TEXT_MAX);
    status = import_postfix(&im, json_string_value(json_object_get(a.json, "dir")));
    buf_done(&im.text);
    buf_done(&im.notes);
    maincf_done(&im.cf);
    args_done(&a);
    return status;
}
