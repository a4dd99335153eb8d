/*
 * tests/support/smtp_cases.c - runs case files against the SMTP engines: smtp_cases PATH...
 *
 * A path is a file or a folder (walked in order). Each file is given to the first row that knows
 * its form; one TAP line a case, the plan at the end, exit status 1 if a case failed.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "cases.h"
#include "cases_curl.h"

static bool
has_end(const char *path, const char *end)
{
    return str_iends(str_c(path), str_c(end));
}

static const char *
base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool
is_seed(const char *path)
{
    return strstr(path, "fuzz") != NULL && !has_end(path, ".dict");
}

static bool
is_json5(const char *path)
{
    return has_end(path, ".json5");
}

static bool
is_json(const char *path)
{
    return has_end(path, ".json");
}

static bool
is_message(const char *path)
{
    return has_end(path, ".eml") || has_end(path, ".txt") || has_end(path, ".msg") ||
           strstr(path, "haraka") || strstr(path, "mail_specimen");
}

/* JSON suites are told apart by the keys of their cases. */
static const struct {
    const char *key;
    void (*run)(const char *path, const json_t *all);
} suites[] = {
    {"ends_data", cases_smuggling},
    {"needs_smtputf8", cases_eai},
    {"diagnosis", cases_isemail},
    {"expect", cases_proxy},
};

static void
run_json(const char *path)
{
    json_error_t error = {0};
    json_t *all = json_load_file(path, JSON_ALLOW_NUL, &error);
    const json_t *first = json_array_get(all, 0);

    for (size_t i = 0; first && i < ARRAY_LEN(suites); i++) {
        if (!json_object_get(first, suites[i].key))
            continue;
        suites[i].run(path, all);
        json_decref(all);
        return;
    }
    cases_ok(false, "%s: %s", path, all ? "no suite has cases of this form" : error.text);
    json_decref(all);
}

/* First match wins. */
static const struct {
    bool (*matches)(const char *path);
    void (*run)(const char *path);
} rows[] = {
    {is_seed, cases_seed}, {cases_curl_matches, cases_curl_run}, {is_json5, cases_robin},
    {is_json, run_json},   {is_message, cases_message},
};

/* What stands beside cases and is none. */
static bool
is_beside(const char *path)
{
    static const char *const names[] = {"SOURCE.txt", "README.md", "meta.xml", "LICENSE"};
    const char *base = base_of(path);

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(str_c(base), str_c(names[i])))
            return true;
    return base[0] == '.' || has_end(path, ".dict");
}

static void
run_file(const char *path)
{
    if (is_beside(path))
        return;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].matches(path)) {
            rows[i].run(path);
            return;
        }
    cases_skip("no row knows this form", "%s", path);
}

static void
run_path(const char *path, unsigned depth)
{
    struct dirent **names = NULL;
    struct stat st;
    int n;

    if (stat(path, &st) < 0) {
        cases_ok(false, "%s: not there", path);
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    n = depth < 16 ? scandir(path, &names, NULL, alphasort) : 0;
    for (int i = 0; i < n; i++) {
        char inner[4096];

        if (names[i]->d_name[0] != '.') {
            str_fmt(inner, sizeof(inner), "%s/%s", path, names[i]->d_name);
            run_path(inner, depth + 1);
        }
        free(names[i]);
    }
    free(names);
}

int
main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) {
        fprintf(stderr, "usage: smtp_cases PATH...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        run_path(argv[i], 0);
    return cases_done();
}
