/*
 * Creates small files durably, without the interpreter's lock: the compiled twin of
 * plain_creator.py, which describes the methods.
 *
 * A file takes ten system calls. A thread of Python needs the interpreter's lock after
 * each of them, for which it may wait a switch interval (5 ms) while the reactor runs,
 * and the reactor waits for it in turn. A thread that calls work() needs the lock only
 * when it begins and ends.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

/* A file that is to be created. The interpreter's lock is held where it is made and freed. */
struct job {
    struct job *next;
    PyObject *ended;
    PyObject *names[3]; /* bytes objects: temporary, path, directory */
    const char *temporary, *path, *directory;
    Py_buffer *buffers;
    struct iovec *pieces;
    Py_ssize_t count; /* of pieces */
    int error;        /* an errno, or 0 */
};

struct queue {
    struct job *first, **end;
};

typedef struct {
    PyObject_HEAD
    int wake; /* the file descriptor that is written to */
    pthread_mutex_t mutex;
    pthread_cond_t more; /* jobs, or closed */
    bool closed;
    struct queue jobs, done;
} Creator;

static void
put(struct queue *queue, struct job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct job *
take_all(struct queue *queue)
{
    struct job *first = queue->first;
    queue->first = NULL;
    queue->end = &queue->first;
    return first;
}

/* Without the interpreter's lock ------------------------------------------------ */

static int
write_all(int file, struct iovec *pieces, Py_ssize_t count)
{
    while (count > 0) {
        ssize_t written = writev(file, pieces, (int)(count < IOV_MAX ? count : IOV_MAX));
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno;
        }
        while (count > 0 && (size_t)written >= pieces->iov_len) {
            written -= (ssize_t)pieces->iov_len;
            pieces++;
            count--;
        }
        if (count > 0) {
            pieces->iov_base = (char *)pieces->iov_base + written;
            pieces->iov_len -= (size_t)written;
        }
    }
    return 0;
}

/* Close a file after syncing it. */
static int
sync_and_close(int file)
{
    int error = fsync(file) ? errno : 0;
    if (close(file) && !error) {
        error = errno;
    }
    return error;
}

static int
create(struct job *job)
{
    int file = open(job->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0) {
        return errno;
    }
    int error = write_all(file, job->pieces, job->count);
    if (error) {
        close(file);
    }
    else {
        error = sync_and_close(file);
    }
    if (!error && link(job->temporary, job->path)) {
        error = errno;
    }
    if (!error) {
        int directory = open(job->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        error = directory < 0 ? errno : sync_and_close(directory);
    }
    unlink(job->temporary);
    return error;
}

static void
work(Creator *self)
{
    pthread_mutex_lock(&self->mutex);
    for (;;) {
        while (self->jobs.first == NULL && !self->closed) {
            pthread_cond_wait(&self->more, &self->mutex);
        }
        struct job *job = self->jobs.first;
        if (job == NULL) {
            break; /* closed, and nothing is left to do */
        }
        self->jobs.first = job->next;
        if (job->next == NULL) {
            self->jobs.end = &self->jobs.first;
        }
        pthread_mutex_unlock(&self->mutex);
        job->error = create(job);
        pthread_mutex_lock(&self->mutex);
        bool wakes = self->done.first == NULL;
        put(&self->done, job);
        if (wakes) {
            (void)!write(self->wake, "", 1); /* a pipe that is full wakes, too */
        }
    }
    pthread_mutex_unlock(&self->mutex);
}

/* With it ------------------------------------------------------------------------ */

static void
free_job(struct job *job)
{
    for (Py_ssize_t i = 0; i < job->count; i++) {
        PyBuffer_Release(&job->buffers[i]);
    }
    for (int i = 0; i < 3; i++) {
        Py_XDECREF(job->names[i]);
    }
    Py_XDECREF(job->ended);
    free(job->buffers);
    free(job->pieces);
    free(job);
}

static bool
fill_job(struct job *job, PyObject *pieces)
{
    job->temporary = PyBytes_AsString(job->names[0]);
    job->path = PyBytes_AsString(job->names[1]);
    job->directory = PyBytes_AsString(job->names[2]);
    Py_ssize_t count = PyList_Size(pieces);
    if (count < 0) {
        return false;
    }
    job->buffers = calloc((size_t)count + 1, sizeof *job->buffers);
    job->pieces = calloc((size_t)count + 1, sizeof *job->pieces);
    if (job->buffers == NULL || job->pieces == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (PyObject_GetBuffer(PyList_GetItem(pieces, i), &job->buffers[i], PyBUF_SIMPLE)) {
            return false;
        }
        job->count++;
        job->pieces[i].iov_base = job->buffers[i].buf;
        job->pieces[i].iov_len = (size_t)job->buffers[i].len;
    }
    return true;
}

static PyObject *
Creator_submit(Creator *self, PyObject *arguments)
{
    struct job *job = calloc(1, sizeof *job);
    PyObject *ended, *pieces;
    if (job == NULL) {
        return PyErr_NoMemory();
    }
    if (!PyArg_ParseTuple(arguments, "OO&O&O&O!:submit", &ended,
                          PyUnicode_FSConverter, &job->names[0],
                          PyUnicode_FSConverter, &job->names[1],
                          PyUnicode_FSConverter, &job->names[2], &PyList_Type, &pieces)) {
        free(job); /* what was converted is released already */
        return NULL;
    }
    Py_INCREF(ended);
    job->ended = ended;
    if (!fill_job(job, pieces)) {
        free_job(job);
        return NULL;
    }
    pthread_mutex_lock(&self->mutex);
    put(&self->jobs, job);
    pthread_cond_signal(&self->more);
    pthread_mutex_unlock(&self->mutex);
    Py_RETURN_NONE;
}

static PyObject *
Creator_finished(Creator *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *found = PyList_New(0);
    if (found == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&self->mutex);
    struct job *job = take_all(&self->done);
    pthread_mutex_unlock(&self->mutex);
    while (job != NULL) {
        struct job *next = job->next;
        PyObject *pair = Py_BuildValue("(Oi)", job->ended, job->error);
        if (pair == NULL || PyList_Append(found, pair)) {
            Py_CLEAR(found);
        }
        Py_XDECREF(pair);
        free_job(job);
        job = next;
    }
    return found;
}

static PyObject *
Creator_work(Creator *self, PyObject *Py_UNUSED(ignored))
{
    Py_BEGIN_ALLOW_THREADS
    work(self);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *
Creator_close(Creator *self, PyObject *Py_UNUSED(ignored))
{
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    pthread_cond_broadcast(&self->more);
    pthread_mutex_unlock(&self->mutex);
    Py_RETURN_NONE;
}

static PyObject *
Creator_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"wake", NULL};
    int wake;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "i:Creator", names, &wake)) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Creator *self = (Creator *)allocate(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->wake = wake;
    self->jobs.end = &self->jobs.first;
    self->done.end = &self->done.first;
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->more, NULL);
    return (PyObject *)self;
}

static void
Creator_dealloc(Creator *self)
{
    /* No thread is in work(): its caller has a reference. */
    struct queue *queues[] = {&self->jobs, &self->done};
    for (int i = 0; i < 2; i++) {
        for (struct job *job = take_all(queues[i]), *next; job != NULL; job = next) {
            next = job->next;
            free_job(job);
        }
    }
    pthread_cond_destroy(&self->more);
    pthread_mutex_destroy(&self->mutex);
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef creator_methods[] = {
    {"submit", (PyCFunction)Creator_submit, METH_VARARGS, PyDoc_STR("Queue a file.")},
    {"finished", (PyCFunction)Creator_finished, METH_NOARGS,
     PyDoc_STR("Return the files that were created or failed, with their errors.")},
    {"work", (PyCFunction)Creator_work, METH_NOARGS, PyDoc_STR("Create files until closed.")},
    {"close", (PyCFunction)Creator_close, METH_NOARGS, PyDoc_STR("End all calls of work.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot creator_slots[] = {
    {Py_tp_doc, "Creates files in threads that never wait for Python."},
    {Py_tp_new, Creator_new},
    {Py_tp_dealloc, Creator_dealloc},
    {Py_tp_methods, creator_methods},
    {0, NULL},
};

static PyType_Spec creator_spec = {
    .name = "kafscale.store.local._creator.Creator",
    .basicsize = sizeof(Creator),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = creator_slots,
};

static int
module_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &creator_spec, NULL);
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
    .m_name = "kafscale.store.local._creator",
    .m_doc = "Creates small files durably, compiled.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__creator(void)
{
    return PyModuleDef_Init(&module);
}
