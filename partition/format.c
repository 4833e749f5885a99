// format.c: finding out how a delimited file is written, from its first lines.
#include "base/mem.h"
#include "features/number.h"
#include "partition/columns.h"
#include "partition/fields.h"
#include "partition/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A column looks like what this share of its values is.
static const double most = 0.9;
// Whole numbers count as times from this on (1973): smaller ones are rather counts, codes or prices.
static const int64_t time_floor = 100000000;

static bool set_delimiter(struct thaw_format *f, const char *text, bool no_quoting) {
    static const char *const word[][2] = {{"tab", "\t"}, {"\\t", "\t"},  {"comma", ","}, {"semicolon", ";"},
                                          {"bar", "|"},  {"blank", " "}, {"space", " "}};
    for (size_t i = 0; i < sizeof word / sizeof word[0]; i++)
        if (strcmp(text, word[i][0]) == 0) text = word[i][1];
    size_t n = strlen(text);
    if (n == 0 || n > THAW_DELIMITER_MAX || strpbrk(text, "\"\r\n") != NULL) return false;
    memcpy(f->delimiter, text, n + 1);
    f->ndelimiter = (int)n;
    f->blank = strcmp(text, " ") == 0;
    f->quoting = n == 1 && !f->blank && !no_quoting;
    return true;
}

static bool all_blank(const char *text, size_t n) {
    return thaw_field_trim((struct thaw_field){text, n}).n == 0;
}

// The commonest number of fields under f's delimiter, and the share of lines that have it.
static int common_count(const struct thaw_format *f, const struct thaw_head *head, struct thaw_fields *s,
                        double *share) {
    int *seen = (int[THAW_HEAD_LINES]){0}, lines = 0, best = 0, best_count = 1;
    for (int i = 0; i < head->nlines; i++) {
        if (all_blank(head->line[i].text, head->line[i].n)) continue;
        seen[lines++] = thaw_fields_split(s, f, head->line[i].text, head->line[i].n);
    }
    for (int i = 0; i < lines; i++) {
        int same = 0;
        for (int j = 0; j < lines; j++) same += seen[j] == seen[i];
        if (seen[i] < 1 || same <= best) continue;
        best = same;
        best_count = seen[i];
    }
    *share = lines > 0 ? (double)best / lines : 0;
    return best_count;
}

// The candidate that cuts most lines alike. Blanks stand in many a field (dates, titles): they are the last
// resort.
static int detect_delimiter(struct thaw_format *f, const struct thaw_head *head, bool no_quoting,
                            struct thaw_err *err) {
    static const char *const candidate[] = {"\t", "::", ",", ";", "|", " "};
    struct thaw_fields s = {0};
    struct thaw_format chosen = {.delimiter = "\t", .ndelimiter = 1, .quoting = !no_quoting};
    double best = 0;
    int code = thaw_alloc(&s.scratch, THAW_HEAD_BYTES, 1, "the fields of a line", err);
    for (size_t i = 0; i < sizeof candidate / sizeof candidate[0] && code == THAW_OK; i++) {
        struct thaw_format tried = {0};
        double share;
        set_delimiter(&tried, candidate[i], no_quoting);
        int count = common_count(&tried, head, &s, &share);
        if (count < 2 || share <= best || (tried.blank && best >= 0.5)) continue;
        best = share;
        chosen = tried;
    }
    thaw_fields_clear(&s);
    memcpy(f->delimiter, chosen.delimiter, sizeof f->delimiter);
    f->ndelimiter = chosen.ndelimiter;
    f->blank = chosen.blank;
    f->quoting = chosen.quoting;
    return code;
}

static int count_fields(struct thaw_format *f, const struct thaw_head *head, struct thaw_err *err) {
    struct thaw_fields s = {0};
    double share;
    int code = thaw_alloc(&s.scratch, THAW_HEAD_BYTES, 1, "the fields of a line", err);
    if (code != THAW_OK) return code;
    f->nfields = common_count(f, head, &s, &share);
    if (f->has_header) f->nfields = thaw_fields_split(&s, f, head->line[0].text, head->line[0].n);
    thaw_fields_clear(&s);
    if (f->nfields < 1)
        return thaw_fail(err, THAW_EDATA, "%s: its header is blank or has a quote that does not end",
                         f->path);
    if (f->nfields > THAW_FIELDS_MAX)
        return thaw_fail(err, THAW_EDATA,
                         "%s: its lines have %d fields, more than %d; is the delimiter right?", f->path,
                         f->nfields, THAW_FIELDS_MAX);
    return THAW_OK;
}

static enum thaw_looks value_looks(struct thaw_field v) {
    double number;
    int64_t t;
    v = thaw_field_trim(v);
    if (v.n == 0) return THAW_LOOKS_EMPTY;
    bool numeric = thaw_number_parse(v.text, v.n, &number) != THAW_NUMBER_BAD;
    if (thaw_time_parse(v.text, v.n, &t) && (!numeric || t >= time_floor)) return THAW_LOOKS_TIME;
    return numeric ? THAW_LOOKS_NUMBER : THAW_LOOKS_TEXT;
}

static enum thaw_looks column_looks(const int count[4]) {
    int values = count[THAW_LOOKS_NUMBER] + count[THAW_LOOKS_TIME] + count[THAW_LOOKS_TEXT];
    if (values == 0) return THAW_LOOKS_EMPTY;
    if (count[THAW_LOOKS_TIME] >= most * values) return THAW_LOOKS_TIME;
    return count[THAW_LOOKS_NUMBER] + count[THAW_LOOKS_TIME] >= most * values ? THAW_LOOKS_NUMBER
                                                                              : THAW_LOOKS_TEXT;
}

// The candidate that cuts most lines, blanks again as the last resort.
static int detect_lists(struct thaw_format *f, const struct thaw_head *head, bool named,
                        struct thaw_err *err) {
    static const char *const candidate[] = {"\t", "::", ",", ";", "|", " "};
    int best = 0;
    for (size_t i = 0; i < sizeof candidate / sizeof candidate[0] && !named; i++) {
        struct thaw_format tried = {0};
        struct thaw_fields none = {0};
        int cuts = 0;
        set_delimiter(&tried, candidate[i], true);
        for (int l = 0; l < head->nlines; l++)
            cuts += thaw_fields_split(&none, &tried, head->line[l].text, head->line[l].n) > 1;
        if (cuts <= best || (tried.blank && 2 * best >= head->nlines)) continue;
        best = cuts;
        set_delimiter(f, candidate[i], true);
    }
    f->lists = true;
    f->nfields = 2;
    f->has_header = f->header_sure = false;
    if (best > 0 || named) return THAW_OK;
    return thaw_fail(err, THAW_EDATA, "%s: no line has a user and an item; which delimiter is between them?",
                     f->path);
}

// One column over the lines from `first` on. seen: hashes would do, but at most THAW_HEAD_LINES values are
// compared.
static void look_at(struct thaw_format *f, const struct thaw_head *head, int first, int column,
                    struct thaw_fields *s) {
    struct thaw_field seen[THAW_HEAD_LINES];
    int count[4] = {0}, distinct = 0;
    for (int i = first; i < head->nlines; i++) {
        if (thaw_fields_split(s, f, head->line[i].text, head->line[i].n) != f->nfields) continue;
        struct thaw_field v = s->field[column];
        count[value_looks(v)]++;
        int at = 0;
        while (at < distinct && (seen[at].n != v.n || memcmp(seen[at].text, v.text, v.n) != 0)) at++;
        // An unescaped value lies in the scratch buffer that the next line overwrites: it is not remembered.
        bool stays = s->scratch == NULL || v.text < s->scratch || v.text >= s->scratch + THAW_LINE_MAX;
        if (at == distinct && stays) seen[distinct++] = v;
    }
    f->looks[column] = column_looks(count);
    f->distinct[column] = distinct;
}

// Names stand where numbers and times stand below.
static bool names_over_numbers(const struct thaw_format *f, const struct thaw_field *cell) {
    int names = 0;
    for (int i = 0; i < f->nfields; i++) {
        if (f->looks[i] != THAW_LOOKS_NUMBER && f->looks[i] != THAW_LOOKS_TIME) continue;
        if (value_looks(cell[i]) != THAW_LOOKS_TEXT ||
            thaw_utf8_check(cell[i].text, cell[i].n) == THAW_TEXT_CONTROL)
            return false;
        names++;
    }
    return names > 0;
}

static bool is_id_name(struct thaw_field name, bool first) {
    if (first && name.n == 2 && (memcmp(name.text, "id", 2) == 0 || memcmp(name.text, "ID", 2) == 0))
        return true;
    return thaw_role_known(THAW_ROLE_USER, name.text, name.n) >= 0 ||
           thaw_role_known(THAW_ROLE_ITEM, name.text, name.n) >= 0;
}

static bool looks_like_header(const struct thaw_format *f, const struct thaw_field *cell,
                              const char *columns) {
    bool id_name = false, number = false;
    for (int i = 0; i < f->nfields; i++) {
        struct thaw_field name = thaw_field_trim(cell[i]);
        if (thaw_columns_ask(columns, name.text, name.n)) return true;
        enum thaw_looks looks = value_looks(name);
        id_name |= is_id_name(name, i == 0);
        number |= looks == THAW_LOOKS_NUMBER || looks == THAW_LOOKS_TIME;
    }
    return (id_name && !number) || names_over_numbers(f, cell);
}

static int look_at_columns(struct thaw_format *f, const struct thaw_head *head,
                           const struct thaw_format_wish *wish, struct thaw_err *err) {
    struct thaw_fields s = {0};
    int code = thaw_alloc(&f->looks, (size_t)f->nfields, sizeof *f->looks, "the columns of a file", err);
    if (code == THAW_OK)
        code = thaw_alloc(&f->distinct, (size_t)f->nfields, sizeof *f->distinct, "columns", err);
    if (code == THAW_OK) code = thaw_fields_new(&s, f, err);
    if (code != THAW_OK) goto done;
    int first = wish->header == THAW_HEADER_NO ? 0 : 1;
    for (int i = 0; i < f->nfields; i++) look_at(f, head, first, i, &s);
    if (wish->header != THAW_HEADER_AUTO) goto done;
    int n = thaw_fields_split(&s, f, head->line[0].text, head->line[0].n);
    f->has_header = n == f->nfields && looks_like_header(f, s.field, wish->columns);
    for (int i = 0; i < f->nfields && !f->has_header; i++) look_at(f, head, 0, i, &s);
done:
    thaw_fields_clear(&s);
    return code;
}

static int make_name(struct thaw_format *f, int column, struct thaw_field cell, struct thaw_err *err) {
    cell = thaw_field_trim(cell);
    size_t cap = 2 * cell.n + 1;
    int code = thaw_alloc(&f->name[column], cap, 1, "a column's name", err);
    if (code != THAW_OK) return code;
    size_t n = cell.n;
    if (f->encoding == THAW_LATIN1)
        n = thaw_latin1_to_utf8(f->name[column], cap - 1, cell.text, cell.n);
    else
        memcpy(f->name[column], cell.text, n);
    enum thaw_text text = thaw_utf8_check(f->name[column], n);
    if (text == THAW_TEXT_CONTROL)
        return thaw_fail(err, THAW_EDATA, "%s: the name of column %d has control bytes in it", f->path,
                         column + 1);
    if (text == THAW_TEXT_BAD)
        return thaw_fail(err, THAW_EDATA, "%s: the name of column %d is not UTF-8; is the encoding latin-1?",
                         f->path, column + 1);
    return THAW_OK;
}

static int take_header(struct thaw_format *f, const struct thaw_head *head, struct thaw_err *err) {
    struct thaw_fields s = {0};
    f->nheader = head->line[0].n;
    int code = thaw_alloc(&f->header, f->nheader + 1, 1, "a header", err);
    if (code == THAW_OK)
        code = thaw_alloc(&f->name, (size_t)f->nfields, sizeof *f->name, "the columns of a file", err);
    if (code == THAW_OK) code = thaw_fields_new(&s, f, err);
    if (code != THAW_OK) return code;
    memcpy(f->header, head->line[0].text, f->nheader);
    (void)thaw_fields_split(&s, f, f->header, f->nheader);
    for (int i = 0; i < f->nfields && code == THAW_OK; i++) code = make_name(f, i, s.field[i], err);
    thaw_fields_clear(&s);
    return code;
}

// All of a file looks like one line when it came from where lines end in CR.
static bool ends_in_cr(const struct thaw_head *head) {
    const char *text = head->line[0].text;
    const char *cr = head->nlines == 1 && text ? memchr(text, '\r', head->line[0].n) : NULL;
    return cr && cr + 1 < text + head->line[0].n;
}

static int detect(struct thaw_format *f, const struct thaw_head *head, const struct thaw_format_wish *wish,
                  struct thaw_err *err) {
    bool named = wish->delimiter != NULL && strcmp(wish->delimiter, "auto") != 0;
    if (named && !set_delimiter(f, wish->delimiter, wish->no_quoting || wish->lists))
        return thaw_fail(err, THAW_EUSAGE,
                         "delimiter: '%s' must be 1 to %d bytes without quotes and line ends, or tab, "
                         "comma, semicolon, bar, blank, auto",
                         wish->delimiter, THAW_DELIMITER_MAX);
    if ((f->path = strdup(head->path)) == NULL)
        return thaw_fail(err, THAW_EMEM, "cannot allocate a file's name");
    if (head->nlines == 0) return thaw_fail(err, THAW_EDATA, "%s: it has no lines", head->path);
    if (ends_in_cr(head))
        return thaw_fail(err, THAW_EDATA,
                         "%s: its lines end in carriage returns alone; convert them first (tr '\\r' '\\n')",
                         head->path);
    f->encoding = wish->encoding;
    f->has_header = f->header_sure = wish->header == THAW_HEADER_YES;
    if (wish->lists) return detect_lists(f, head, named, err);
    int code = named ? THAW_OK : detect_delimiter(f, head, wish->no_quoting, err);
    if (code == THAW_OK) code = count_fields(f, head, err);
    if (code == THAW_OK) code = look_at_columns(f, head, wish, err);
    if (code == THAW_OK && f->has_header) code = take_header(f, head, err);
    return code;
}

int thaw_format_detect(struct thaw_format **out, const struct thaw_head *head,
                       const struct thaw_format_wish *wish, struct thaw_err *err) {
    struct thaw_format *f = NULL;
    int code = thaw_alloc(&f, 1, sizeof *f, "a format", err);
    if (code == THAW_OK) code = detect(f, head, wish, err);
    if (code == THAW_OK)
        *out = f;
    else
        thaw_format_free(&f);
    return code;
}

void thaw_format_free(struct thaw_format **pf) {
    struct thaw_format *f = *pf;
    if (f == NULL) return;
    for (int i = 0; i < f->nfields && f->name != NULL; i++) free(f->name[i]);
    free(f->name);
    free(f->looks);
    free(f->distinct);
    free(f->header);
    free(f->path);
    free(f);
    *pf = NULL;
}

char *thaw_format_describe(const struct thaw_format *f, char *buf, size_t cap) {
    static const char *const word[][2] = {
        {"\t", "tab"}, {",", "comma"}, {";", "semicolon"}, {"|", "bar"}, {" ", "blank"}};
    const char *delimiter = NULL;
    for (size_t i = 0; i < sizeof word / sizeof word[0]; i++)
        if (strcmp(f->delimiter, word[i][0]) == 0) delimiter = word[i][1];
    const char *quote = delimiter != NULL ? "" : "'",
               *encoding = f->encoding == THAW_LATIN1 ? "latin-1" : "utf-8";
    if (delimiter == NULL) delimiter = f->delimiter;
    if (f->lists)
        snprintf(buf, cap, "%s%s%s-separated, a user and their items in a line, %s", quote, delimiter, quote,
                 encoding);
    else
        snprintf(buf, cap, "%s%s%s-separated, %d field%s, %s, %s", quote, delimiter, quote, f->nfields,
                 f->nfields == 1 ? "" : "s", f->has_header ? "header" : "no header", encoding);
    return buf;
}

int thaw_format_column(const struct thaw_format *f, const char *name) {
    for (int i = 0; i < f->nfields && f->name != NULL; i++)
        if (strcmp(f->name[i], name) == 0) return i;
    return -1;
}

char *thaw_format_columns(const struct thaw_format *f, char *buf, size_t cap) {
    if (f->name == NULL) {
        snprintf(buf, cap, "%d column%s without names", f->nfields, f->nfields == 1 ? "" : "s");
        return buf;
    }
    size_t n = 0;
    for (int i = 0; i < f->nfields && n < cap; i++) {
        int wrote = snprintf(buf + n, cap - n, "%s%s", i > 0 ? ", " : "", f->name[i]);
        n += wrote > 0 ? (size_t)wrote : 0;
    }
    if (n >= cap && cap > 4) memcpy(buf + cap - 4, "...", 4);
    return buf;
}

// Cells of a line that are names of the header.
static int count_names(const struct thaw_format *f, const struct thaw_fields *s, int n) {
    int same = 0;
    for (int i = 0; i < n && i < s->cap; i++) {
        struct thaw_field cell = thaw_field_trim(s->field[i]);
        bool found = false;
        for (int j = 0; j < f->nfields; j++)
            found |= cell.n > 0 && strlen(f->name[j]) == cell.n && memcmp(f->name[j], cell.text, cell.n) == 0;
        same += found;
    }
    return same;
}

int thaw_format_first(const struct thaw_format *f, const struct thaw_line *line, bool *header,
                      struct thaw_err *err) {
    struct thaw_fields s = {0};
    *header = false;
    if (!f->has_header) return THAW_OK;
    if (line->n == f->nheader && memcmp(line->text, f->header, f->nheader) == 0) {
        *header = true;
        return THAW_OK;
    }
    if (f->header_sure)
        return thaw_fail(err, THAW_EDATA,
                         "%s: its first line is not the header of %s; prepare files of other columns apart",
                         line->path, f->path);
    int code = thaw_fields_new(&s, f, err);
    if (code != THAW_OK) return code;
    int n = thaw_fields_split(&s, f, line->text, line->n);
    bool other =
        n > 0 && (2 * count_names(f, &s, n) >= n || (n == f->nfields && names_over_numbers(f, s.field)));
    thaw_fields_clear(&s);
    if (other)
        return thaw_fail(err, THAW_EDATA,
                         "%s: its header differs from that of %s; prepare files of other columns apart",
                         line->path, f->path);
    return THAW_OK;
}
