/* One header beside another that was walked before: equal but for the values of a few elements of plain VRs.

Bytes that are equal need no second look. The first byte that is otherwise than in the header before, and is no part of
such a value, gives up; so does a value that raises a question. Included by _quickwalk.c. */

#define MAX_DIFFERENT 64
#define MAX_PLAIN 1024

/* The end of the part of a value that begins at `start`; parts are separated by backslashes. */
static size_t part_of(const unsigned char *p, size_t n, size_t start)
{
    while (start < n && p[start] != '\\') start++;
    return start;
}

static PyObject *decimal_json(const unsigned char *p, size_t n)
{
    char text[20], *shown;
    size_t k;
    double value;
    PyObject *made;
    if (n > 16 || !is_number(p, n, 1)) return NULL;
    for (k = 0; k < n; k++) {
        if (p[k] != 'e' && p[k] != 'E') continue;
        if (n - k > (p[k + 1] == '+' || p[k + 1] == '-' ? 4u : 3u)) return NULL;
    }
    memcpy(text, p, n);
    text[n] = 0;
    value = PyOS_string_to_double(text, NULL, NULL);
    if (PyErr_Occurred()) return NULL;
    if (!(shown = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL))) return NULL;
    made = PyUnicode_FromString(shown);
    PyMem_Free(shown);
    return made;
}

static PyObject *integer_json(const unsigned char *p, size_t n)
{
    long value = 0;
    size_t k = n && (*p == '+' || *p == '-');
    if (n - k > 9 || !is_number(p, n, 0)) return NULL;
    for (; k < n; k++) value = 10 * value + (p[k] - '0');
    return PyUnicode_FromFormat("%ld", *p == '-' ? -value : value);
}

static PyObject *quoted_json(const unsigned char *p, size_t n)
{
    char text[MAX_PLAIN + 2];
    size_t k;
    if (!n || n > MAX_PLAIN || *p == ' ') return NULL;
    for (k = 0; k < n; k++) if (p[k] < 0x20 || p[k] > 0x7E || p[k] == '"' || p[k] == '\\') return NULL;
    text[0] = text[n + 1] = '"';
    memcpy(text + 1, p, n);
    return PyUnicode_DecodeASCII(text, (Py_ssize_t)n + 2, NULL);
}

/* JSON of one part; NULL where it takes thought. */
static PyObject *part_json(const unsigned char *vr, const unsigned char *p, size_t n)
{
    if (is_vr(vr, 'U', 'I')) return n <= 64 && is_uid(p, n) ? quoted_json(p, n) : NULL;
    while (n && p[n - 1] == ' ') n--;
    while (n && *p == ' ') p++, n--;
    if (is_vr(vr, 'D', 'S')) return decimal_json(p, n);
    return integer_json(p, n);
}

static PyObject *listed_json(PyObject *parts)
{
    PyObject *comma, *inside, *made = NULL;
    if (PyList_Size(parts) == 1) return Py_NewRef(PyList_GetItem(parts, 0));
    comma = PyUnicode_FromString(",");
    inside = comma ? PyUnicode_Join(comma, parts) : NULL;
    if (inside) made = PyUnicode_FromFormat("[%U]", inside);
    Py_XDECREF(comma);
    Py_XDECREF(inside);
    return made;
}

static PyObject *parts_json(const unsigned char *vr, const unsigned char *p, size_t n)
{
    PyObject *parts = PyList_New(0), *part, *made = NULL;
    size_t start = 0, end;
    if (is_vr(vr, 'U', 'I')) while (n && (p[n - 1] == 0 || p[n - 1] == ' ')) n--;
    for (; parts; start = end + 1) {
        int failed;
        end = part_of(p, n, start);
        part = part_json(vr, p + start, end - start);
        failed = !part || PyList_Append(parts, part);
        Py_XDECREF(part);
        if (failed) break;
        if (end == n) {
            made = listed_json(parts);
            break;
        }
    }
    Py_XDECREF(parts);
    return made;
}

/* One binary number, which is its own JSON and its own text; NULL for any other value. */
static PyObject *number_of(const Job *job, const Element *e)
{
    const unsigned char *p = job->data + e->value;
    if (e->length == 2 && is_vr(e->vr, 'U', 'S')) return PyUnicode_FromFormat("%u", (unsigned)u16(p));
    if (e->length == 2 && is_vr(e->vr, 'S', 'S')) return PyUnicode_FromFormat("%d", (int)(int16_t)u16(p));
    if (e->length == 4 && is_vr(e->vr, 'U', 'L')) return PyUnicode_FromFormat("%lu", (unsigned long)u32(p));
    if (e->length == 4 && is_vr(e->vr, 'S', 'L')) return PyUnicode_FromFormat("%ld", (long)(int32_t)u32(p));
    return NULL;
}

/* The JSON that researchpacs.dicom._plain_values gives; NULL, without an error, where it takes thought. */
static PyObject *json_of(const Job *job, const Element *e)
{
    static const char texts[] = "CSDATMLOSHSTLTUT";
    const unsigned char *p = job->data + e->value;
    size_t n = e->length, k;
    if (!n || n > MAX_PLAIN) return NULL;
    if (is_vr(e->vr, 'D', 'S') || is_vr(e->vr, 'I', 'S') || is_vr(e->vr, 'U', 'I')) return parts_json(e->vr, p, n);
    for (k = 0; k < sizeof texts - 1; k += 2)
        if (is_vr(e->vr, texts[k], texts[k + 1])) break;
    if (k >= sizeof texts - 1) return NULL;
    while (n && p[n - 1] == ' ') n--;
    if (k < 6 && !is_plain(e->vr, p, n)) return NULL;
    return quoted_json(p, n);
}

/* Walk both File Meta Informations side by side; where the data set begins, 0 gives up. The UID that the new one has of
its own goes to `uid`. */
static size_t like_opening(const Job *old, size_t old_start, const Job *new, PyObject **uid)
{
    size_t at = 132, to = 132, ends = 0;
    Element e, f;
    if (new->length < old_start || memcmp(old->data, new->data, 132)) return 0;
    while (at < old_start) {
        if (!read_element(old, at, old->length, &e) || !read_element(new, to, new->length, &f)) return 0;
        if (e.length > old->length - e.value) return 0;
        if (e.tag != f.tag || memcmp(e.vr, f.vr, 2) || f.length > new->length - f.value) return 0;
        if (f.tag == 0x00020000) {
            if (f.length != 4) return 0;
            ends = f.value + 4 + (size_t)u32(new->data + f.value);
        } else if (e.length != f.length || memcmp(old->data + e.value, new->data + f.value, f.length)) {
            size_t n = f.length;
            const unsigned char *p = new->data + f.value;
            if (f.tag != 0x00020003 || *uid) return 0;
            while (n && (p[n - 1] == 0 || p[n - 1] == ' ')) n--;
            if (n > 64 || !is_uid(p, n)) return 0;
            if (!(*uid = PyUnicode_DecodeASCII((const char *)p, (Py_ssize_t)n, NULL))) return 0;
        }
        at = e.value + e.length;
        to = f.value + f.length;
    }
    return at == old_start && to == ends ? to : 0;
}

/* Take an element that differs: its place in the table, its JSON, or its bytes where that takes thought, and its text,
None where that does; 0 gives up. */
static int take_different(const Job *new, const Element *f, size_t at, size_t next, size_t k, PyObject *places,
                          PyObject *jsons, PyObject *texts)
{
    PyObject *place, *json = NULL, *text = NULL;
    int taken;
    if (PyList_Size(places) >= MAX_DIFFERENT) return 0;
    if (is_sound(new, f) && !is_vr(f->vr, 'S', 'Q')) {
        if ((json = number_of(new, f))) text = Py_NewRef(json);
        else text = f->length ? text_of(new, f) : PyUnicode_FromString("");
        if (!json && !PyErr_Occurred()) json = json_of(new, f);
    }
    if (!json && !PyErr_Occurred())
        json = PyBytes_FromStringAndSize((const char *)new->data + at, (Py_ssize_t)(next - at));
    if (!text && !PyErr_Occurred()) text = Py_NewRef(Py_None);
    place = PyLong_FromSize_t(k);
    taken = place && json && text && !PyList_Append(places, place) && !PyList_Append(jsons, json) &&
            !PyList_Append(texts, text);
    Py_XDECREF(place);
    Py_XDECREF(json);
    Py_XDECREF(text);
    return taken;
}

/* Where an element that differs ends; 0 gives up. Its tag and VR are those of the one before. */
static size_t end_of(const Job *new, const Element *f)
{
    int sequence = is_vr(f->vr, 'S', 'Q');
    if (is_vr(f->vr, 'U', 'N') || contains(new->wanted, new->wanted_count, f->tag)) return 0;
    if (f->tag & 0x10000 && (f->tag & 0xFFFF) <= 0xFF) return 0;
    if (f->length == UNDEFINED) return sequence ? walk_items(new, f->value, new->length, 1, 0) : 0;
    if (f->length > new->length - f->value) return 0;
    if (sequence && f->length && !walk_items(new, f->value, f->value + f->length, 0, 0)) return 0;
    return f->value + f->length;
}

/* Walk the elements of both data sets side by side; where the new one's pixels begin, 0 gives up. */
static size_t like_elements(const Job *old, const Py_buffer *table, const Job *new, size_t to, PyObject *places,
                            PyObject *jsons, PyObject *texts)
{
    size_t count = (size_t)table->len / 12, k;
    for (k = 0; k < count; k++) {
        uint32_t entry[3];
        size_t length, next;
        Element f;
        memcpy(entry, (const char *)table->buf + 12 * k, sizeof entry);
        if (entry[1] > entry[2] || entry[2] > old->length) return 0;
        length = entry[2] - entry[1];
        if (length <= new->length - to && !memcmp(old->data + entry[1], new->data + to, length)) {
            to += length;
            continue;
        }
        if (length < 8 || !read_element(new, to, new->length, &f) || f.tag != entry[0]) return 0;
        if (memcmp(f.vr, old->data + entry[1] + 4, 2) || !(next = end_of(new, &f))) return 0;
        if (!take_different(new, &f, to, next, k, places, jsons, texts)) return 0;
        to = next;
    }
    return to;
}

/* Whether the new header ends with the very pixel data element of the old one, which fills the file. */
static int like_pixels(const Job *old, size_t old_at, const Job *new, size_t at)
{
    size_t length = old->length - old_at;
    Element e;
    if (length > new->length - at || memcmp(old->data + old_at, new->data + at, length)) return 0;
    if (!read_element(old, old_at, old->length, &e) || e.tag >> 16 != 0x7FE0 || e.length == UNDEFINED) return 0;
    return e.value == old->length && (uint64_t)at + length + e.length == new->size;
}

static PyObject *like(PyObject *self, PyObject *args)
{
    Job old, new;
    Py_buffer before, table, data, fixed, sequences;
    unsigned long long size;
    Py_ssize_t start, pixels;
    size_t begins, at;
    PyObject *places, *jsons, *texts, *uid = NULL, *result = NULL;
    (void)self;
    memset(&old, 0, sizeof old);
    memset(&new, 0, sizeof new);
    if (!PyArg_ParseTuple(args, "y*ny*ny*Ky*y*O!", &before, &start, &table, &pixels, &data, &size, &fixed, &sequences,
                          &PyFrozenSet_Type, &new.creators))
        return NULL;
    old.data = before.buf;
    old.length = (size_t)before.len;
    new.data = data.buf;
    new.length = (size_t)data.len < (size_t)size ? (size_t)data.len : (size_t)size;
    new.size = (uint64_t)size;
    new.wanted = fixed.buf;
    new.wanted_count = (size_t)fixed.len / 4;
    new.sequences = sequences.buf;
    new.sequence_count = (size_t)sequences.len / 4;
    places = PyList_New(0);
    jsons = PyList_New(0);
    texts = PyList_New(0);
    if (places && jsons && texts && start >= 132 && pixels >= start && pixels <= before.len &&
        (begins = like_opening(&old, (size_t)start, &new, &uid)) &&
        (at = like_elements(&old, &table, &new, begins, places, jsons, texts)) && like_pixels(&old, (size_t)pixels, &new, at))
        result = Py_BuildValue("(OOOOnn)", places, jsons, texts, uid ? uid : Py_None, (Py_ssize_t)begins, (Py_ssize_t)at);
    Py_XDECREF(places);
    Py_XDECREF(jsons);
    Py_XDECREF(texts);
    Py_XDECREF(uid);
    PyBuffer_Release(&before);
    PyBuffer_Release(&table);
    PyBuffer_Release(&data);
    PyBuffer_Release(&fixed);
    PyBuffer_Release(&sequences);
    if (!result && !PyErr_Occurred()) result = Py_NewRef(Py_None);
    return result;
}
