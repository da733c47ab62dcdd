/*
 * Walks over the records of a batch: the compiled twin of plain_walker.py, which
 * describes the layout of a record and what the arguments and results mean. Both
 * give the same verdicts, which tests/wire/walker_fuzz.py holds against each other.
 *
 * No Python object is made for a record. While a large piece is walked over, the
 * interpreter's lock is released and the caller's buffer is held.
 *
 * Records that are in one piece are read by whole_records(), one that is not by
 * part_of_record(), byte by byte.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Pieces above this size are walked over without the interpreter's lock. */
#define LARGE (16 * 1024)

/* kafscale.wire.record_walk.Unreadable */
enum unreadable { READABLE, TRUNCATED, MISSING, TRAILING, VARINT, SIZE, FIELDS, HEADERS };

/* kafscale.wire.record_walk.Flaw */
enum flaw { NO_KEY = 1, TIME_RANGE, TIME_OVERFLOW, OFFSET };

/* The field that comes next. */
enum stage { AT_SIZE, AT_ATTRIBUTES, AT_TIME, AT_OFFSET, AT_KEY, AT_VALUE, AT_HEADERS, AT_NAME, AT_HELD, AT_END };

struct flawed {
    int64_t index;
    int64_t value;
    enum flaw flaw;
};

/* What is read of a record. */
struct record {
    int64_t time;   /* less the base timestamp */
    int64_t offset; /* less the base offset */
    bool has_key;
};

typedef struct {
    PyObject_HEAD
    bool busy; /* a thread is in feed() */

    int64_t count, base_timestamp, earliest, latest, sought, first_delta;
    Py_ssize_t max_flaws;
    bool need_keys, seeks;

    bool stopped; /* more bytes do not change the verdict */
    bool no_memory;
    enum unreadable error;
    int64_t records;
    int64_t position; /* of the next record */
    int64_t timestamp, delta;
    int64_t flaw_count;
    struct flawed *flaws;
    Py_ssize_t listed, room;

    /* A record of which a part has come. */
    enum stage stage;
    int64_t size;  /* of the whole record, as far as it is known */
    int64_t left;  /* of its size, after what is to be skipped */
    int64_t skip;  /* bytes of a string that are still to come */
    int64_t headers;
    uint64_t bits; /* of a number that has begun */
    int shift;
    struct record record;
} Walker;

static void
fail(Walker *self, enum unreadable error)
{
    self->error = error;
    self->stopped = true;
}

static int64_t
unzigzag(uint64_t bits)
{
    return (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
}

static void
add_flaw(Walker *self, int64_t index, enum flaw flaw, int64_t value)
{
    self->flaw_count++;
    if (self->listed >= self->max_flaws) {
        return;
    }
    if (self->listed == self->room) {
        Py_ssize_t room = self->room ? 2 * self->room : 16;
        struct flawed *flaws = realloc(self->flaws, (size_t)room * sizeof *flaws);
        if (flaws == NULL) {
            self->no_memory = true;
            self->stopped = true;
            return;
        }
        self->flaws = flaws;
        self->room = room;
    }
    self->flaws[self->listed++] = (struct flawed){index, value, flaw};
}

/* Add the first flaw of a record, if it has one. */
static void
add_flaws(Walker *self, int64_t index, const struct record *record)
{
    int64_t timestamp;
    bool overflows = __builtin_add_overflow(self->base_timestamp, record->time, &timestamp);

    if (self->need_keys && !record->has_key) {
        add_flaw(self, index, NO_KEY, 0);
    } else if (overflows) {
        add_flaw(self, index, TIME_OVERFLOW, record->time);
    } else if ((timestamp < self->earliest || timestamp > self->latest) && timestamp != -1) {
        add_flaw(self, index, TIME_RANGE, timestamp);
    } else if (record->offset != index) {
        add_flaw(self, index, OFFSET, record->offset);
    }
}

/*
 * Judge the record at `index`, which has been read to its end. `timestamp` and `delta`
 * are those of the verdict.
 */
static inline void
judge(
    Walker *self, const struct record *record, int64_t index, int64_t *timestamp, int64_t *delta)
{
    int64_t time;
    bool overflows = __builtin_add_overflow(self->base_timestamp, record->time, &time);

    if (self->seeks) {
        if (!overflows && time >= self->sought && record->offset >= self->first_delta) {
            *timestamp = time;
            *delta = record->offset;
            self->stopped = true;
        }
        return;
    }
    if (time > *timestamp && !overflows) {
        *timestamp = time;
        *delta = record->offset;
    }
    if ((self->need_keys & !record->has_key) | overflows | (time < self->earliest)
        | (time > self->latest) | (record->offset != index)) {
        add_flaws(self, index, record);
    }
}

enum outcome { GOT, ENDED, TOO_LONG };

/* As read_bits(), for numbers of any width. */
static enum outcome
read_long_bits(const uint8_t **at, const uint8_t *stop, int last, uint8_t highest, uint64_t *bits)
{
    const uint8_t *p = *at;
    uint64_t value = 0;
    for (int shift = 0; p < stop; shift += 7) {
        uint8_t byte = *p++;
        if (shift == last && byte > highest) {
            return TOO_LONG;
        }
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *bits = value;
            *at = p;
            return GOT;
        }
    }
    return ENDED;
}

/*
 * Read a number, before zigzag, and move *at behind it. `last` is the shift of its
 * last byte, and `highest` that byte's highest value.
 */
static inline enum outcome
read_bits(const uint8_t **at, const uint8_t *stop, int last, uint8_t highest, uint64_t *bits)
{
    const uint8_t *p = *at;
    if (p < stop && p[0] < 0x80) {
        *bits = p[0];
        *at = p + 1;
        return GOT;
    }
    if (stop - p >= 2 && p[1] < 0x80) {
        *bits = (uint64_t)(p[0] & 0x7F) | (uint64_t)p[1] << 7;
        *at = p + 2;
        return GOT;
    }
    if (stop - p >= 3 && p[2] < 0x80) { /* offsets from 8,192 on, for example */
        *bits = (uint64_t)(p[0] & 0x7F) | (uint64_t)(p[1] & 0x7F) << 7 | (uint64_t)p[2] << 14;
        *at = p + 3;
        return GOT;
    }
    return read_long_bits(at, stop, last, highest, bits);
}

#define VARINT_LAST 28
#define VARINT_HIGHEST 0x0F
#define VARLONG_LAST 63
#define VARLONG_HIGHEST 0x01

/* Read a number of the record that ends at `stop`; if there is none, give up. */
#define READ(last, highest)                                                  \
    do {                                                                     \
        enum outcome outcome = read_bits(&p, stop, last, highest, &bits);    \
        if (outcome != GOT) {                                                \
            fail(self, outcome == ENDED ? FIELDS : VARINT);                  \
            goto out;                                                        \
        }                                                                    \
    } while (0)

/* Skip a string whose size, or null, is in `bits`. */
#define SKIP()                                                               \
    do {                                                                     \
        if (!(bits & 1)) {                                                   \
            if (bits >> 1 > (uint64_t)(stop - p)) {                          \
                fail(self, FIELDS);                                          \
                goto out;                                                    \
            }                                                                \
            p += bits >> 1;                                                  \
        }                                                                    \
    } while (0)

/*
 * Walk over the records that begin at `start`, while they end before `end` and can be
 * read; return the end of the last one.
 */
static const uint8_t *
whole_records(Walker *self, const uint8_t *const start, const uint8_t *end)
{
    const uint8_t *begin = start;
    /* What changes with each record is in registers. */
    int64_t index = self->records;
    int64_t timestamp = self->timestamp;
    int64_t delta = self->delta;

    while (index < self->count && begin < end) {
        const uint8_t *p = begin;
        uint64_t bits;
        struct record record;

        enum outcome outcome = read_bits(&p, end, VARINT_LAST, VARINT_HIGHEST, &bits);
        if (outcome == ENDED) {
            break;
        }
        if (outcome == TOO_LONG) {
            fail(self, VARINT);
            break;
        }
        if (bits & 1) {
            fail(self, SIZE);
            break;
        }
        if (bits >> 1 > (uint64_t)(end - p)) {
            break;
        }
        const uint8_t *const stop = p + (bits >> 1);
        if (p == stop) {
            fail(self, FIELDS);
            break;
        }
        p++;
        READ(VARLONG_LAST, VARLONG_HIGHEST);
        record.time = unzigzag(bits);
        READ(VARINT_LAST, VARINT_HIGHEST);
        record.offset = unzigzag(bits);
        READ(VARINT_LAST, VARINT_HIGHEST);
        record.has_key = !(bits & 1);
        SKIP();
        READ(VARINT_LAST, VARINT_HIGHEST);
        SKIP();
        READ(VARINT_LAST, VARINT_HIGHEST);
        if (bits & 1) {
            fail(self, HEADERS);
            break;
        }
        for (uint64_t headers = bits >> 1; headers > 0; headers--) {
            READ(VARINT_LAST, VARINT_HIGHEST);
            if (bits & 1) {
                fail(self, HEADERS);
                goto out;
            }
            SKIP();
            READ(VARINT_LAST, VARINT_HIGHEST);
            SKIP();
        }
        if (p != stop) {
            fail(self, FIELDS);
            break;
        }
        begin = stop;
        judge(self, &record, index++, &timestamp, &delta);
        if (self->stopped) {
            break;
        }
    }
out:
    self->records = index;
    self->timestamp = timestamp;
    self->delta = delta;
    self->position += begin - start;
    return begin;
}

/* Begin to skip a string; return whether it is within the record. */
static bool
begin_skip(Walker *self, uint64_t bits)
{
    if (!(bits & 1)) {
        self->skip = (int64_t)(bits >> 1);
        if (self->skip > self->left) {
            fail(self, FIELDS);
            return false;
        }
        self->left -= self->skip;
    }
    return true;
}

/* Take the number that has just ended. */
static void
take_number(Walker *self, uint64_t bits)
{
    switch (self->stage) {
    case AT_SIZE:
        if (bits & 1) {
            fail(self, SIZE);
            return;
        }
        self->left = (int64_t)(bits >> 1);
        self->size += self->left;
        self->stage = AT_ATTRIBUTES;
        return;
    case AT_TIME:
        self->record.time = unzigzag(bits);
        self->stage = AT_OFFSET;
        return;
    case AT_OFFSET:
        self->record.offset = unzigzag(bits);
        self->stage = AT_KEY;
        return;
    case AT_KEY:
        self->record.has_key = !(bits & 1);
        self->stage = AT_VALUE;
        begin_skip(self, bits);
        return;
    case AT_VALUE:
        self->stage = AT_HEADERS;
        begin_skip(self, bits);
        return;
    case AT_HEADERS:
        if (bits & 1) {
            fail(self, HEADERS);
            return;
        }
        self->headers = (int64_t)(bits >> 1);
        break;
    case AT_NAME:
        if (bits & 1) {
            fail(self, HEADERS);
            return;
        }
        self->stage = AT_HELD;
        begin_skip(self, bits);
        return;
    case AT_HELD:
        if (!begin_skip(self, bits)) {
            return;
        }
        self->headers--;
        break;
    case AT_ATTRIBUTES:
    case AT_END:
        return;
    }
    if (self->headers > 0) {
        self->stage = AT_NAME;
    } else if (self->left > 0) {
        fail(self, FIELDS);
    } else {
        self->stage = AT_END;
    }
}

/*
 * Go on with a record that is not in one piece; return the position after it, or the
 * end of the piece.
 */
static const uint8_t *
part_of_record(Walker *self, const uint8_t *p, const uint8_t *end)
{
    while (!self->stopped) {
        if (self->skip > 0) {
            int64_t skipped = self->skip < end - p ? self->skip : end - p;
            p += skipped;
            self->skip -= skipped;
            if (self->skip > 0) {
                break;
            }
        }
        if (self->stage == AT_END) {
            judge(self, &self->record, self->records, &self->timestamp, &self->delta);
            self->records++;
            self->position += self->size;
            self->stage = AT_SIZE;
            self->size = 0;
            break;
        }
        if (self->stage != AT_SIZE && self->left == 0) {
            fail(self, FIELDS);
            break;
        }
        if (p == end) {
            break;
        }
        uint8_t byte = *p++;
        if (self->stage == AT_SIZE) {
            self->size++;
        } else {
            self->left--;
        }
        if (self->stage == AT_ATTRIBUTES) {
            self->stage = AT_TIME;
            continue;
        }
        bool is_long = self->stage == AT_TIME;
        if (self->shift == (is_long ? VARLONG_LAST : VARINT_LAST)
            && byte > (is_long ? VARLONG_HIGHEST : VARINT_HIGHEST)) {
            fail(self, VARINT);
            break;
        }
        self->bits |= (uint64_t)(byte & 0x7F) << self->shift;
        if (byte >= 0x80) {
            self->shift += 7;
            continue;
        }
        uint64_t bits = self->bits;
        self->bits = 0;
        self->shift = 0;
        take_number(self, bits);
    }
    return p;
}

static void
walk(Walker *self, const uint8_t *p, const uint8_t *end)
{
    while (p < end && !self->stopped) {
        if (self->records >= self->count) {
            fail(self, TRAILING);
            return;
        }
        if (self->stage == AT_SIZE && self->size == 0) {
            const uint8_t *next = whole_records(self, p, end);
            if (next != p) {
                p = next;
                continue;
            }
        }
        p = part_of_record(self, p, end);
    }
}

/* --------------------------------------------------------- batches as they come */

/* kafscale.wire.batches */
#define LENGTH_AT 8
#define MAGIC_AT 16
#define CRC_AT 17
#define ATTRIBUTES_AT 21
#define LAST_OFFSET_AT 23
#define BASE_TIMESTAMP_AT 27
#define MAX_TIMESTAMP_AT 35
#define PRODUCER_ID_AT 43
#define PRODUCER_EPOCH_AT 51
#define BASE_SEQUENCE_AT 53
#define COUNT_AT 57
#define RECORDS_AT 61
#define LENGTH_OVERHEAD 12
#define MAGIC 2

static uint32_t crc_tables[4][256];

static void
make_crc_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
        }
        crc_tables[0][byte] = crc;
    }
    for (int byte = 0; byte < 256; byte++) {
        for (int table = 1; table < 4; table++) {
            uint32_t crc = crc_tables[table - 1][byte];
            crc_tables[table][byte] = crc >> 8 ^ crc_tables[0][crc & 0xFF];
        }
    }
}

/* The CRC-32C, four bytes at a time: enough for small batches. */
static uint32_t
crc32c(const uint8_t *p, const uint8_t *end)
{
    uint32_t crc = 0xFFFFFFFF;
    for (; end - p >= 4; p += 4) {
        crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        crc = crc_tables[3][crc & 0xFF] ^ crc_tables[2][crc >> 8 & 0xFF]
              ^ crc_tables[1][crc >> 16 & 0xFF] ^ crc_tables[0][crc >> 24];
    }
    for (; p < end; p++) {
        crc = crc >> 8 ^ crc_tables[0][(crc ^ *p) & 0xFF];
    }
    return ~crc;
}

/* The big-endian number of so many bytes. */
static inline uint64_t
number(const uint8_t *p, int size)
{
    uint64_t value = 0;
    for (int n = 0; n < size; n++) {
        value = value << 8 | p[n];
    }
    return value;
}

/*
 * Whether nothing is wrong with a batch. Here are no reasons and no exceptions to a
 * rule: what is not sound is looked at again in Python, which has them.
 */
static bool
sound(const uint8_t *batch, Py_ssize_t size, bool need_keys, int64_t earliest, int64_t latest)
{
    if (size < RECORDS_AT || number(batch, 8) != 0
        || number(batch + LENGTH_AT, 4) != (uint64_t)size - LENGTH_OVERHEAD
        || batch[MAGIC_AT] != MAGIC || number(batch + ATTRIBUTES_AT, 2) != 0) {
        return false;
    }
    int32_t count = (int32_t)number(batch + COUNT_AT, 4);
    if (count <= 0 || (int32_t)number(batch + LAST_OFFSET_AT, 4) != count - 1) {
        return false;
    }
    if ((int64_t)number(batch + PRODUCER_ID_AT, 8) >= 0
        && ((int16_t)number(batch + PRODUCER_EPOCH_AT, 2) < 0
            || (int32_t)number(batch + BASE_SEQUENCE_AT, 4) < 0)) {
        return false;
    }
    if (crc32c(batch + ATTRIBUTES_AT, batch + size) != number(batch + CRC_AT, 4)) {
        return false;
    }
    Walker walker = {
        .count = count,
        .base_timestamp = (int64_t)number(batch + BASE_TIMESTAMP_AT, 8),
        .earliest = earliest,
        .latest = latest,
        .need_keys = need_keys,
        .timestamp = -1,
        .delta = -1,
    };
    walk(&walker, batch + RECORDS_AT, batch + size);
    return !walker.stopped && walker.records == count && walker.flaw_count == 0
           && walker.timestamp == (int64_t)number(batch + MAX_TIMESTAMP_AT, 8);
}

/* ---------------------------------------------------------------- for Python */

static PyObject *
is_sound(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer view;
    int need_keys;
    long long earliest, latest;

    if (!PyArg_ParseTuple(args, "y*pLL", &view, &need_keys, &earliest, &latest)) {
        return NULL;
    }
    bool found = sound(view.buf, view.len, need_keys, earliest, latest);
    PyBuffer_Release(&view);
    return PyBool_FromLong(found);
}

static PyMethodDef module_methods[] = {
    {"is_sound", is_sound, METH_VARARGS,
     PyDoc_STR("Return whether nothing is wrong with a small batch.")},
    {NULL, NULL, 0, NULL},
};

static PyObject *
Walker_feed(Walker *self, PyObject *piece)
{
    Py_buffer view;

    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread feeds this walker");
        return NULL;
    }
    if (PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    const uint8_t *start = view.buf;
    if (view.len == 0) {
        /* The buffer may be a null pointer. */
    } else if (view.len <= LARGE) {
        walk(self, start, start + view.len);
    } else {
        self->busy = true;
        Py_BEGIN_ALLOW_THREADS
        walk(self, start, start + view.len);
        Py_END_ALLOW_THREADS
        self->busy = false;
    }
    PyBuffer_Release(&view);
    if (self->no_memory) {
        return PyErr_NoMemory();
    }
    return PyBool_FromLong(!self->stopped);
}

static PyObject *
Walker_finish(Walker *self, PyObject *Py_UNUSED(ignored))
{
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread feeds this walker");
        return NULL;
    }
    if (!self->stopped && self->records < self->count) {
        fail(self, self->size == 0 ? MISSING : TRUNCATED);
    }
    PyObject *flaws = PyList_New(self->listed);
    if (flaws == NULL) {
        return NULL;
    }
    for (Py_ssize_t n = 0; n < self->listed; n++) {
        const struct flawed *it = &self->flaws[n];
        PyObject *row = Py_BuildValue(
            "(LiL)", (long long)it->index, (int)it->flaw, (long long)it->value);
        if (row == NULL || PyList_SetItem(flaws, n, row) < 0) {
            Py_DECREF(flaws);
            return NULL;
        }
    }
    return Py_BuildValue(
        "(LiLLLLN)", (long long)self->records, (int)self->error, (long long)self->position,
        (long long)self->timestamp, (long long)self->delta, (long long)self->flaw_count, flaws);
}

static PyObject *
Walker_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    long long count, base_timestamp, earliest, latest, sought = 0, first_delta = 0;
    int need_keys;
    Py_ssize_t max_flaws;
    PyObject *maybe_sought = Py_None;

    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Walker takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(
            args, "LLpLLn|OL", &count, &base_timestamp, &need_keys, &earliest, &latest,
            &max_flaws, &maybe_sought, &first_delta)) {
        return NULL;
    }
    if (maybe_sought != Py_None) {
        sought = PyLong_AsLongLong(maybe_sought);
        if (sought == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Walker *self = (Walker *)alloc(type, 0); /* all zero */
    if (self == NULL) {
        return NULL;
    }
    self->count = count;
    self->base_timestamp = base_timestamp;
    self->need_keys = need_keys;
    self->earliest = earliest;
    self->latest = latest;
    self->max_flaws = max_flaws;
    self->seeks = maybe_sought != Py_None;
    self->sought = sought;
    self->first_delta = first_delta;
    self->timestamp = self->delta = -1;
    return (PyObject *)self;
}

static void
Walker_dealloc(Walker *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    free(self->flaws);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef walker_methods[] = {
    {"feed", (PyCFunction)Walker_feed, METH_O, PyDoc_STR("Walk over the next bytes.")},
    {"finish", (PyCFunction)Walker_finish, METH_NOARGS, PyDoc_STR("Return the verdict.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot walker_slots[] = {
    {Py_tp_doc, "Walks over the records of one batch, which are fed to it in pieces."},
    {Py_tp_new, Walker_new},
    {Py_tp_dealloc, Walker_dealloc},
    {Py_tp_methods, walker_methods},
    {0, NULL},
};

static PyType_Spec walker_spec = {
    .name = "kafscale.wire._walker.Walker",
    .basicsize = sizeof(Walker),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = walker_slots,
};

static int
module_exec(PyObject *module)
{
    make_crc_tables();
    PyObject *type = PyType_FromModuleAndSpec(module, &walker_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "kafscale.wire._walker",
    .m_doc = "Walks over the records of a batch, compiled.",
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__walker(void)
{
    return PyModuleDef_Init(&module);
}
