/*
 * tests/support/lib/suite_file.c - files, folders and YAML for the runners of suites.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "suite_file.h"

bool
suite_read(const char *path, struct buf *ret)
{
    FILE *f = fopen(path, "rb");
    char piece[65536];
    size_t n;

    buf_init(ret, SUITE_FILE_MAX);
    if (!f)
        return false;
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        buf_add(ret, piece, n);
    fclose(f);
    return !ret->failed;
}

void
suite_crlf(struct str text, struct buf *ret)
{
    buf_init(ret, 2 * SUITE_FILE_MAX);
    while (text.n) {
        ssize_t nl = str_chr(text, '\n');
        struct str line = nl < 0 ? text : str_sub(text, 0, (size_t)nl);

        text = nl < 0 ? STR_NONE : str_from(text, (size_t)nl + 1);
        if (nl >= 0 && line.n && line.p[line.n - 1] == '\r')
            line.n--;
        buf_str(ret, line);
        if (nl >= 0)
            buf_c(ret, "\r\n");
    }
}

struct str
suite_header(struct str message, struct str *ret_body)
{
    ssize_t end = str_starts(message, STR("\r\n")) ? -2 : str_find(message, STR("\r\n\r\n"));

    if (end == -1) {
        *ret_body = STR_NONE;
        return message;
    }
    *ret_body = str_from(message, (size_t)(end + 4));
    return str_sub(message, 0, (size_t)(end + 4));
}

struct str
suite_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return str_c(slash ? slash + 1 : path);
}

void
suite_walk(const char *path, void (*fn)(void *ctx, const char *path), void *ctx)
{
    struct dirent **names = NULL;
    struct stat st;
    int n;

    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        fn(ctx, path);
        return;
    }
    n = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char inner[4096];

        str_fmt(inner, sizeof(inner), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            suite_walk(inner, fn, ctx);
        free(names[i]);
    }
    free(names);
}

struct str
suite_yaml_text(const yaml_node_t *node)
{
    if (!node || node->type != YAML_SCALAR_NODE)
        return STR_NONE;
    return str_of(node->data.scalar.value, node->data.scalar.length);
}

yaml_node_t *
suite_yaml_get(yaml_document_t *doc, yaml_node_t *map, const char *key)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++)
        if (str_eq(suite_yaml_text(yaml_document_get_node(doc, p->key)), str_c(key)))
            return yaml_document_get_node(doc, p->value);
    return NULL;
}

bool
suite_yaml_each(const char *path, void (*fn)(void *ctx, yaml_document_t *), void *ctx)
{
    FILE *f = fopen(path, "rb");
    yaml_parser_t parser;
    bool good = f != NULL, more = good;

    if (!f || !yaml_parser_initialize(&parser)) {
        printf("# %s: cannot be read\n", path);
        return false;
    }
    yaml_parser_set_input_file(&parser, f);
    while (more) {
        yaml_document_t doc;

        if (!yaml_parser_load(&parser, &doc)) {
            printf("# %s:%zu: %s\n", path, parser.problem_mark.line + 1,
                   parser.problem ? parser.problem : "not YAML");
            good = false;
            break;
        }
        more = yaml_document_get_root_node(&doc) != NULL;
        if (more)
            fn(ctx, &doc);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    fclose(f);
    return good;
}
