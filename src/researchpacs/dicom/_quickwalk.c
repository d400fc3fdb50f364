/* The walk through a sound header, in C: an accelerator of _walk.py, which stays the one that decides.

It takes only what raises no question: little endian, Part 10 with a correct File Meta Information, elements in the order
of their tags, VRs that the Standard knows, sequences and items that end where they say. At the first byte that is
otherwise it gives up, or, at the top level, hands over: Python then walks from there, refuses and notes. It reads
nothing but the block of bytes it is given, and checks every offset against its end. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define UNDEFINED 0xFFFFFFFFu
#define ITEM 0xFFFEE000u
#define ITEM_END 0xFFFEE00Du
#define SEQUENCE_END 0xFFFEE0DDu
#define MAX_DEPTH 16
#define MAX_VALUE 65536u
#define MAX_TABLE 4096

typedef struct {
    const unsigned char *data;  /* the first bytes of the file */
    size_t length;              /* how many there are */
    uint64_t size;              /* bytes of the file */
    int implicit;
    const uint32_t *wanted;     /* sorted */
    size_t wanted_count;
    const uint32_t *sequences;  /* sorted: tags that the dictionary calls sequences */
    size_t sequence_count;
    PyObject *creators;         /* set of bytes: private creators known to have sequences */
} Job;

typedef struct {
    uint32_t tag, length;
    unsigned char vr[2];
    size_t value;
} Element;

static uint16_t u16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32(const unsigned char *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }
static int is_vr(const unsigned char *vr, char a, char b) { return vr[0] == (unsigned char)a && vr[1] == (unsigned char)b; }

/* Bytes of an explicit element's header by VR (PS3.5 7.1.2); 0 where the Standard does not know it. */
static int form_of(const unsigned char *vr)
{
    static const char lengthy[] = "OBODOFOLOVOWSQSVUCUNURUTUV";
    static const char brief[] = "AEASATCSDADSDTFDFLISLOLTPNSHSLSSSTTMUIULUS";
    size_t k;
    for (k = 0; k < sizeof brief - 1; k += 2)
        if (is_vr(vr, brief[k], brief[k + 1])) return 8;
    for (k = 0; k < sizeof lengthy - 1; k += 2)
        if (is_vr(vr, lengthy[k], lengthy[k + 1])) return 12;
    return 0;
}

static int contains(const uint32_t *sorted, size_t count, uint32_t tag)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sorted[middle] < tag) low = middle + 1; else high = middle;
    }
    return low < count && sorted[low] == tag;
}

/* Read the header of an element at `at`; 0 where it is not wholly there or has a VR nobody knows. */
static int read_element(const Job *job, size_t at, size_t end, Element *found)
{
    int form = 8;
    const unsigned char *p = job->data + at;
    if (at > end || end - at < 8) return 0;
    found->tag = (uint32_t)u16(p) << 16 | u16(p + 2);
    if (job->implicit) {
        found->vr[0] = found->vr[1] = 0;
        found->length = u32(p + 4);
    } else {
        found->vr[0] = p[4];
        found->vr[1] = p[5];
        form = form_of(p + 4);
        if (!form || end - at < (size_t)form) return 0;
        found->length = form == 12 ? u32(p + 8) : u16(p + 6);
    }
    found->value = at + (size_t)form;
    return 1;
}

static int looks_implicit(const unsigned char *p) { return !(p[4] > 0x40 && p[4] < 0x5B && p[5] > 0x40 && p[5] < 0x5B); }

/* 1 a sequence, 0 none, -1 for Python to decide. */
static int is_sequence(const Job *job, const Element *e, int creator)
{
    if (is_vr(e->vr, 'S', 'Q')) return 1;
    if (!job->implicit && !is_vr(e->vr, 'U', 'N')) return e->length == UNDEFINED ? -1 : 0;
    if (e->length == UNDEFINED) return job->implicit && contains(job->sequences, job->sequence_count, e->tag) ? 1 : -1;
    if (!e->length) return 0;
    if (e->tag & 0x10000) return creator ? -1 : 0;
    if (!contains(job->sequences, job->sequence_count, e->tag)) return 0;
    return job->implicit ? 1 : -1;
}

/* Whether a private creator is known to have sequences; -1 on an error of Python. */
static int has_sequences(const Job *job, const Element *e)
{
    size_t length = e->length;
    PyObject *name;
    int found;
    const unsigned char *p = job->data + e->value;
    while (length && (p[length - 1] == 0 || p[length - 1] == ' ')) length--;
    name = PyBytes_FromStringAndSize((const char *)p, (Py_ssize_t)length);
    if (!name) return -1;
    found = PySet_Contains(job->creators, name);
    Py_DECREF(name);
    return found;
}

static size_t walk_items(const Job *job, size_t at, size_t end, int delimited, int depth);

/* Walk the elements of an item up to its end; 0 gives up. */
static size_t walk_item(const Job *job, size_t at, size_t end, int delimited, int depth)
{
    uint32_t previous = 0;
    int creator = 0, kind;
    Element e;
    while (delimited || at < end) {
        /* A delimiter has no VR, so it is looked for first. */
        if (delimited && end - at >= 8 && u16(job->data + at) == 0xFFFE) {
            if (u16(job->data + at + 2) != 0xE00D) return 0;
            return at + 8;
        }
        if (!read_element(job, at, end, &e)) return 0;
        if (e.tag <= previous || e.tag >> 16 == 0xFFFE) return 0;
        previous = e.tag;
        kind = is_sequence(job, &e, creator);
        if (kind < 0) return 0;
        if (kind && e.length == UNDEFINED) {
            if (!(at = walk_items(job, e.value, end, 1, depth))) return 0;
            continue;
        }
        if (e.length > end - e.value) return 0;
        if (kind && e.length && !walk_items(job, e.value, e.value + e.length, 0, depth)) return 0;
        if (e.tag & 0x10000 && (e.tag & 0xFFFF) >= 0x10 && (e.tag & 0xFFFF) <= 0xFF) {
            int known = e.length <= MAX_VALUE ? has_sequences(job, &e) : -1;
            if (known < 0) return 0;
            creator |= known;
        }
        at = e.value + e.length;
    }
    return at == end ? at : 0;
}

/* Walk the items of a sequence up to its end; 0 gives up. */
static size_t walk_items(const Job *job, size_t at, size_t end, int delimited, int depth)
{
    if (depth >= MAX_DEPTH) return 0;
    while (delimited || at < end) {
        uint32_t tag, length;
        if (at > end || end - at < 8) return 0;
        tag = (uint32_t)u16(job->data + at) << 16 | u16(job->data + at + 2);
        length = u32(job->data + at + 4);
        at += 8;
        if (tag == SEQUENCE_END) return delimited && !length ? at : 0;
        if (tag != ITEM) return 0;
        if (!length) continue;
        if (length == UNDEFINED) {
            if (end - at < 8) return 0;
            if (!(u16(job->data + at) == 0xFFFE) && !job->implicit && looks_implicit(job->data + at)) return 0;
            if (!job->implicit && u16(job->data + at) == 0xFFFE) return 0;
            if (!(at = walk_item(job, at, end, 1, depth + 1))) return 0;
        } else {
            if (length > end - at || length < 8) return 0;
            if (!job->implicit && looks_implicit(job->data + at)) return 0;
            if (!walk_item(job, at, at + length, 0, depth + 1)) return 0;
            at += length;
        }
    }
    return at == end ? at : 0;
}

static int digits(const unsigned char *p, size_t count)
{
    size_t k;
    for (k = 0; k < count; k++) if (p[k] < '0' || p[k] > '9') return 0;
    return 1;
}

static int is_number(const unsigned char *p, size_t n, int decimal)
{
    size_t k = 0, whole, part = 0;
    if (n && (*p == '+' || *p == '-')) k++;
    whole = k;
    while (k < n && p[k] >= '0' && p[k] <= '9') k++;
    whole = k - whole;
    if (!decimal) return k == n && whole >= 1 && whole <= 12;
    if (k < n && p[k] == '.') {
        size_t start = ++k;
        while (k < n && p[k] >= '0' && p[k] <= '9') k++;
        part = k - start;
    }
    if (!whole && !part) return 0;
    if (k < n && (p[k] == 'e' || p[k] == 'E')) {
        size_t start;
        k++;
        if (k < n && (p[k] == '+' || p[k] == '-')) k++;
        start = k;
        while (k < n && p[k] >= '0' && p[k] <= '9') k++;
        if (k == start) return 0;
    }
    return k == n;
}

static int is_uid(const unsigned char *p, size_t n)
{
    size_t k = 0;
    for (;;) {
        size_t start = k;
        while (k < n && p[k] >= '0' && p[k] <= '9') k++;
        if (k == start || (p[start] == '0' && k - start > 1)) return 0;
        if (k == n) return 1;
        if (p[k++] != '.') return 0;
    }
}

static int is_code(const unsigned char *p, size_t n)
{
    size_t k;
    for (k = 0; k < n; k++)
        if (!((p[k] >= 'A' && p[k] <= 'Z') || (p[k] >= '0' && p[k] <= '9') || p[k] == '_' || p[k] == ' ')) return 0;
    return n >= 1 && n <= 16;
}

static int is_date(const unsigned char *p, size_t n)
{
    int month, day;
    if (n != 8 || !digits(p, 8)) return 0;
    month = (p[4] - '0') * 10 + p[5] - '0';
    day = (p[6] - '0') * 10 + p[7] - '0';
    return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

static int is_time(const unsigned char *p, size_t n)
{
    if (n < 6 || !digits(p, 6) || (p[0] - '0') * 10 + p[1] - '0' > 23 || p[2] > '5' || p[4] > '5') return 0;
    return n == 6 || (p[6] == '.' && n > 7 && n <= 13 && digits(p + 7, n - 7));
}

/* Whether one value is surely what its VR allows; what is not sure is for Python to look at. */
static int is_plain(const unsigned char *vr, const unsigned char *p, size_t n)
{
    while (n && p[n - 1] == ' ') n--;
    while (n && *p == ' ') p++, n--;
    if (is_vr(vr, 'U', 'I')) return is_uid(p, n);
    if (is_vr(vr, 'D', 'S')) return is_number(p, n, 1);
    if (is_vr(vr, 'I', 'S')) return is_number(p, n, 0);
    if (is_vr(vr, 'C', 'S')) return is_code(p, n);
    if (is_vr(vr, 'D', 'A')) return is_date(p, n);
    if (is_vr(vr, 'T', 'M')) return is_time(p, n);
    return 0;
}

static int is_sound(const Job *job, const Element *e)
{
    static const char unchecked[] = "LOSHPNLTSTUCUTURDT";
    const unsigned char *p = job->data + e->value;
    size_t n = e->length, k, start = 0;
    if (n % 2) return 0;
    if (is_vr(e->vr, 'U', 'S') || is_vr(e->vr, 'S', 'S')) return 1;
    if (is_vr(e->vr, 'U', 'L') || is_vr(e->vr, 'S', 'L') || is_vr(e->vr, 'F', 'L')) return n % 4 == 0;
    if (is_vr(e->vr, 'F', 'D')) return n % 8 == 0;
    for (k = 0; k < sizeof unchecked - 1; k += 2)
        if (is_vr(e->vr, unchecked[k], unchecked[k + 1])) return 1;
    while (n && (p[n - 1] == 0 || p[n - 1] == ' ')) n--;
    for (k = 0; k <= n; k++)
        if (k == n || p[k] == '\\') {
            if (k > start && (k - start > 64 || !is_plain(e->vr, p + start, k - start))) return 0;
            start = k + 1;
        }
    return 1;
}

static PyObject *text_of(const Job *job, const Element *e);

static int keep(PyObject *values, PyObject *vrs, PyObject *texts, const Job *job, const Element *e)
{
    PyObject *text, *key = PyLong_FromUnsignedLong(e->tag), *value, *vr;
    int failed = 1;
    if (!key) return -1;
    value = PyBytes_FromStringAndSize((const char *)job->data + e->value, (Py_ssize_t)e->length);
    vr = vrs ? PyBytes_FromStringAndSize((const char *)e->vr, job->implicit ? 0 : 2) : NULL;
    if (value && (vr || !vrs)) failed = PyDict_SetItem(values, key, value) || (vrs && PyDict_SetItem(vrs, key, vr));
    if (!failed && texts && (text = text_of(job, e))) {
        failed = PyDict_SetItem(texts, key, text);
        Py_DECREF(text);
    }
    Py_DECREF(key);
    Py_XDECREF(value);
    Py_XDECREF(vr);
    return failed || PyErr_Occurred() ? -1 : 0;
}

/* A value as text without padding, as _walk_text.as_text gives it, where that takes no thought; NULL elsewhere. */
static PyObject *text_of(const Job *job, const Element *e)
{
    static const char kinds[] = "UIDSISAECSDATMASLOSHPNLTST";
    const unsigned char *p = job->data + e->value;
    size_t n = e->length, k;
    int multiple = 0, blank = 0, both, person;
    if (job->implicit || !n) return NULL;
    if (n == 2 && is_vr(e->vr, 'U', 'S')) return PyUnicode_FromFormat("%u", (unsigned)u16(p));
    for (k = 0; k < sizeof kinds - 1; k += 2)
        if (is_vr(e->vr, kinds[k], kinds[k + 1])) break;
    if (k >= sizeof kinds - 1) return NULL;
    both = k < 8;
    person = is_vr(e->vr, 'P', 'N');
    if (!k) while (n && p[n - 1] == 0) n--;
    while (n && p[n - 1] == ' ') n--;
    while (both && n && *p == ' ') p++, n--;
    for (k = 0; k < n; k++) {
        if (p[k] < 0x20 || p[k] > 0x7E) return NULL;
        multiple |= p[k] == '\\';
        blank |= p[k] == ' ';
    }
    if (multiple && (blank || person)) return NULL;
    while (person && n && p[n - 1] == '=') n--;
    return PyUnicode_DecodeLatin1((const char *)p, (Py_ssize_t)n, NULL);
}

/* The preamble and the File Meta Information (PS3.10 7); where the data set begins, 0 gives up. */
static size_t read_opening(Job *job, PyObject *values, char *syntax, size_t room)
{
    size_t at = 132, end = job->length, ends = 0;
    uint32_t previous = 0;
    Element e;
    int count;
    *syntax = 0;
    if (end < 160 || memcmp(job->data + 128, "DICM", 4)) return 0;
    /* First bytes that a program, a page or an archive may have. */
    if (job->data[0] && strchr("M\x7f\xfe\xce\xcf\xca#<P%", job->data[0])) return 0;
    job->implicit = 0;
    for (count = 0; count < 64; count++) {
        if (end - at < 8) return 0;
        if (u16(job->data + at) != 2) break;
        if (!read_element(job, at, end, &e) || e.length > end - e.value || e.length > MAX_VALUE) return 0;
        if (count && e.tag <= previous) return 0;
        previous = e.tag;
        if (!count) {
            if (e.tag != 0x00020000 || !is_vr(e.vr, 'U', 'L') || e.length != 4) return 0;
            ends = e.value + 4 + (size_t)u32(job->data + e.value);
        }
        /* A DICOMDIR is no instance. */
        if (e.tag == 0x00020002 && e.length >= 20 && !memcmp(job->data + e.value, "1.2.840.10008.1.3.10", 20)) return 0;
        if (e.tag == 0x00020010) {
            size_t n = e.length;
            const unsigned char *p = job->data + e.value;
            while (n && (p[n - 1] == 0 || p[n - 1] == ' ')) n--;
            if (n >= room) return 0;
            memcpy(syntax, p, n);
            syntax[n] = 0;
            if (strlen(syntax) != n || !is_uid(p, n)) return 0;
        }
        if (keep(values, NULL, NULL, job, &e)) return 0;
        at = e.value + e.length;
    }
    if (count == 64 || at != ends || !*syntax || u16(job->data + at) == 0) return 0;
    if (!strcmp(syntax, "1.2.840.10008.1.2.2") || !strcmp(syntax, "1.2.840.10008.1.2.1.99")) return 0;
    job->implicit = !strcmp(syntax, "1.2.840.10008.1.2");
    return at;
}

typedef struct {
    size_t at;            /* where the walk stopped */
    uint32_t previous;    /* the tag before */
    PyObject *pixels;     /* (tag, vr, offset, length), NULL where there are none */
    uint32_t table[3 * MAX_TABLE];
    size_t count;
} Walked;

/* Walk the data set's own elements until its end, or to the first that is for Python; -1 on an error. */
static int walk_top(const Job *job, Walked *walked, PyObject *values, PyObject *vrs, PyObject *texts, PyObject *doubtful)
{
    int creator = 0, kind;
    Element e;
    size_t next;
    while (walked->at < job->size) {
        size_t at = walked->at;
        if (!read_element(job, at, job->length, &e)) return 0;
        if (e.tag <= walked->previous || e.tag >> 16 == 0xFFFE || walked->count >= MAX_TABLE) return 0;
        kind = is_sequence(job, &e, creator);
        if (kind < 0) return 0;
        if (kind && e.length == UNDEFINED) {
            if (!(next = walk_items(job, e.value, job->length, 1, 0))) return PyErr_Occurred() ? -1 : 0;
        } else {
            if (e.length > job->size - e.value) return 0;
            next = e.value + e.length;
            if (e.tag == 0x7FE00008 || e.tag == 0x7FE00009 || e.tag == 0x7FE00010) {
                if (walked->pixels) return 0;
                walked->pixels = Py_BuildValue("(ky#nI)", (unsigned long)e.tag, (const char *)e.vr,
                                               (Py_ssize_t)(job->implicit ? 0 : 2), (Py_ssize_t)at, e.length);
                if (!walked->pixels) return -1;
                walked->previous = e.tag;
                walked->at = next;
                continue;
            }
            if (next > job->length) return 0;
            if (kind && e.length && !walk_items(job, e.value, next, 0, 0)) return PyErr_Occurred() ? -1 : 0;
            if (!kind) {
                if (e.tag & 0x10000 && (e.tag & 0xFFFF) >= 0x10 && (e.tag & 0xFFFF) <= 0xFF) {
                    int known = e.length <= MAX_VALUE ? has_sequences(job, &e) : 0;
                    if (known < 0) return -1;
                    if (e.length > MAX_VALUE) return 0;
                    creator |= known;
                }
                if (contains(job->wanted, job->wanted_count, e.tag)) {
                    if (e.length > MAX_VALUE) return 0;
                    if (keep(values, vrs, texts, job, &e)) return -1;
                    if (!is_sound(job, &e)) {
                        PyObject *tag = PyLong_FromUnsignedLong(e.tag);
                        int failed = !tag || PyList_Append(doubtful, tag);
                        Py_XDECREF(tag);
                        if (failed) return -1;
                    }
                }
            }
        }
        walked->table[3 * walked->count] = e.tag;
        walked->table[3 * walked->count + 1] = (uint32_t)at;
        walked->table[3 * walked->count++ + 2] = (uint32_t)next;
        walked->previous = e.tag;
        walked->at = next;
    }
    return 0;
}

static PyObject *walk(PyObject *self, PyObject *args)
{
    Job job;
    Walked *walked;
    Py_buffer data, wanted, sequences;
    unsigned long long size;
    char syntax[80];
    size_t start;
    PyObject *result = NULL, *values, *vrs, *texts, *doubtful;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*Ky*y*O!", &data, &size, &wanted, &sequences, &PyFrozenSet_Type, &job.creators))
        return NULL;
    job.data = data.buf;
    job.length = (size_t)data.len < (size_t)size ? (size_t)data.len : (size_t)size;
    job.size = (uint64_t)size;
    job.wanted = wanted.buf;
    job.wanted_count = (size_t)wanted.len / 4;
    job.sequences = sequences.buf;
    job.sequence_count = (size_t)sequences.len / 4;
    values = PyDict_New();
    vrs = PyDict_New();
    texts = PyDict_New();
    doubtful = PyList_New(0);
    walked = PyMem_Malloc(sizeof *walked);
    if (values && vrs && texts && doubtful && walked) {
        walked->at = walked->count = 0;
        walked->previous = 0;
        walked->pixels = NULL;
        start = job.length < (size_t)1 << 30 ? read_opening(&job, values, syntax, sizeof syntax) : 0;
        if (!start || job.length - start < 8 || looks_implicit(job.data + start) != job.implicit) {
            if (!PyErr_Occurred()) result = Py_NewRef(Py_None);
        } else {
            walked->at = start;
            if (walk_top(&job, walked, values, vrs, texts, doubtful) == 0 && !PyErr_Occurred())
                result = Py_BuildValue("(snOOOOOKIy#)", syntax, (Py_ssize_t)start, values, vrs, texts, doubtful,
                                       walked->pixels ? walked->pixels : Py_None, (unsigned long long)walked->at,
                                       walked->previous, (const char *)walked->table,
                                       (Py_ssize_t)(12 * walked->count));
        }
        Py_XDECREF(walked->pixels);
    } else if (!walked) {
        PyErr_NoMemory();
    }
    PyMem_Free(walked);
    Py_XDECREF(values);
    Py_XDECREF(vrs);
    Py_XDECREF(texts);
    Py_XDECREF(doubtful);
    PyBuffer_Release(&data);
    PyBuffer_Release(&wanted);
    PyBuffer_Release(&sequences);
    return result;
}

/* Look the elements of a table up by their bytes; what is not remembered is None, and its place in the table listed. */
static PyObject *recall(PyObject *self, PyObject *args)
{
    Py_buffer data, table;
    PyObject *memory, *found = NULL, *missing = NULL;
    size_t count, k;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*O!", &data, &table, &PyDict_Type, &memory)) return NULL;
    count = (size_t)table.len / 12;
    found = PyList_New((Py_ssize_t)count);
    missing = PyList_New(0);
    for (k = 0; found && missing && k < count; k++) {
        uint32_t entry[3];
        PyObject *key, *value;
        memcpy(entry, (const char *)table.buf + 12 * k, sizeof entry);
        if (entry[1] > entry[2] || entry[2] > (size_t)data.len) {
            PyErr_SetString(PyExc_ValueError, "the table is not of these bytes");
            break;
        }
        key = PyBytes_FromStringAndSize((const char *)data.buf + entry[1], (Py_ssize_t)(entry[2] - entry[1]));
        if (!key) break;
        value = PyDict_GetItemWithError(memory, key);
        Py_DECREF(key);
        if (!value) {
            PyObject *at;
            int failed;
            if (PyErr_Occurred()) break;
            at = PyLong_FromSize_t(k);
            failed = !at || PyList_Append(missing, at);
            Py_XDECREF(at);
            if (failed) break;
            value = Py_None;
        }
        PyList_SetItem(found, (Py_ssize_t)k, Py_NewRef(value));
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&table);
    if (!found || !missing || PyErr_Occurred()) {
        Py_XDECREF(found);
        Py_XDECREF(missing);
        return NULL;
    }
    return Py_BuildValue("(NN)", found, missing);
}

#include "_quickwalk_like.h"

static PyMethodDef methods[] = {
    {"walk", walk, METH_VARARGS, "Walk a sound header; None for one that Python has to walk."},
    {"like", like, METH_VARARGS, "Find what a header has otherwise than another one; None where that takes thought."},
    {"recall", recall, METH_VARARGS, "Look elements up by their bytes."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_quickwalk", NULL, 0, methods, NULL, NULL, NULL, NULL};

/* What the functions take and give; Python asks for the same number in _walk_quick.py. */
#define INTERFACE 1

PyMODINIT_FUNC PyInit__quickwalk(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made && PyModule_AddIntConstant(made, "INTERFACE", INTERFACE) < 0) {
        Py_CLEAR(made);
    }
    return made;
}
