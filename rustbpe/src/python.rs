//! The Python module `mini_rustbpe`: the same interface as rustbpe 0.1.0, and nothing but glue.
//!
//! Whoever works for long lets go of Python's lock (`detach`), so that other Python threads go on, and
//! takes it again (`attach`) only to ask for more text, to report, or to see whether Ctrl-C was pressed.

use crate::count::{self, ChunkCounts};
use crate::encode::Model;
use crate::split::{self, Splitter};
use crate::train::{self, Pair, Words};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyIterator, PyString};
use rayon::prelude::*;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

/// Count what is gathered when the texts have this many bytes, however few they are: it bounds the
/// memory that an iterator of long texts takes.
const MAX_BUFFER_BYTES: usize = 16 << 20;

/// How long Ctrl-C may have to wait while merges are learned.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// A byte-pair encoding tokenizer: 256 ids, one a byte, until it is trained.
#[pyclass(frozen, module = "mini_rustbpe")]
struct Tokenizer {
    // Training makes a new model and swaps it in as its last step. So a training that fails changes
    // nothing, and other threads may encode meanwhile.
    model: RwLock<Arc<Model>>,
}

impl Tokenizer {
    fn model(&self) -> Arc<Model> {
        self.model.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

#[pymethods]
impl Tokenizer {
    #[new]
    fn new() -> Tokenizer {
        Tokenizer { model: RwLock::new(Arc::new(Model::untrained())) }
    }

    /// Learn merges from an iterable of str until there are `vocab_size` ids.
    ///
    /// If the texts allow fewer, it stops there: compare `vocab_size` afterwards. `buffer_size` texts
    /// at most are gathered, then counted by all threads (RAYON_NUM_THREADS). `pattern` cuts text into
    /// chunks; without one it is GPT-4's. `on_merge(pair, count)` is called after each merge; the count
    /// is how often the pair occurred just before.
    /// Raises ValueError for a vocab_size below 256, a buffer_size below 1 and an invalid pattern, and
    /// TypeError for a text that is no str. What the iterator or on_merge raises goes through, and so
    /// does Ctrl-C; the tokenizer is then what it was before.
    #[pyo3(signature = (iterator, vocab_size, buffer_size=8192, pattern=None, on_merge=None))]
    fn train_from_iterator(
        &self,
        py: Python<'_>,
        iterator: &Bound<'_, PyAny>,
        vocab_size: i64,
        buffer_size: i64,
        pattern: Option<String>,
        on_merge: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let vocab_size = check_vocab_size(vocab_size)?;
        if buffer_size < 1 {
            return Err(PyValueError::new_err(format!("buffer_size must be at least 1, got {buffer_size}")));
        }
        let pattern = pattern.unwrap_or_else(split::default_pattern);
        let splitter = Splitter::new(&pattern).map_err(PyValueError::new_err)?;
        let counts = count_iterator(py, &iterator.try_iter()?, buffer_size as usize, &splitter)?;
        let model = py.detach(|| {
            let words = Words::new(&count::total(counts));
            let mut watch = Watch { last: Instant::now(), on_merge };
            let merges = train::train(words, vocab_size, |pair, count| watch.after_merge(pair, count))?;
            Ok::<Model, PyErr>(Model::new(pattern, splitter, &merges))
        })?;
        *self.model.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(model);
        Ok(())
    }

    /// The split pattern; empty before training.
    fn get_pattern(&self) -> String {
        self.model().pattern.clone()
    }

    /// [(bytes of a token, its id), ...] in order of ids: what tiktoken calls mergeable ranks.
    fn get_mergeable_ranks<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, usize)> {
        let model = self.model();
        let tokens = model.tokens().iter().enumerate();
        tokens.map(|(id, token)| (PyBytes::new(py, token), id)).collect()
    }

    /// The number of ids: 256 bytes and the merges.
    #[getter]
    fn vocab_size(&self) -> usize {
        self.model().tokens().len()
    }

    /// The ids of a text.
    fn encode(&self, py: Python<'_>, text: PyBackedStr) -> PyResult<Vec<u32>> {
        let model = self.model();
        py.detach(|| model.encode(&text)).map_err(PyValueError::new_err)
    }

    /// The ids of each text of a list, in parallel.
    fn batch_encode(&self, py: Python<'_>, texts: Vec<PyBackedStr>) -> PyResult<Vec<Vec<u32>>> {
        let model = self.model();
        py.detach(|| texts.par_iter().map(|text| model.encode(text)).collect::<Result<_, _>>())
            .map_err(PyValueError::new_err)
    }

    /// The text of ids. Bytes that are no UTF-8 become U+FFFD. Raises ValueError for an unknown id.
    fn decode(&self, ids: Vec<i64>) -> PyResult<String> {
        let model = self.model();
        match model.decode(&ids) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(id) => Err(PyValueError::new_err(format!(
                "Unknown token id: {id} (ids must lie in 0..{})",
                model.tokens().len() - 1
            ))),
        }
    }
}

/// The chunks of a text, as training sees them. Without a pattern: GPT-4's.
#[pyfunction]
#[pyo3(name = "split", signature = (text, pattern=None))]
fn split_text(text: &str, pattern: Option<String>) -> PyResult<Vec<&str>> {
    let pattern = pattern.unwrap_or_else(split::default_pattern);
    Splitter::new(&pattern).and_then(|splitter| splitter.split(text)).map_err(PyValueError::new_err)
}

fn check_vocab_size(vocab_size: i64) -> PyResult<u32> {
    if vocab_size < 256 {
        return Err(PyValueError::new_err(format!(
            "vocab_size must be at least 256 (one id per byte), got {vocab_size}"
        )));
    }
    u32::try_from(vocab_size)
        .map_err(|_| PyValueError::new_err(format!("vocab_size must be below 2**32, got {vocab_size}")))
}

/// Count the chunks of all texts of `iterator`; one result per thread.
fn count_iterator(
    py: Python<'_>,
    iterator: &Bound<'_, PyIterator>,
    buffer_size: usize,
    splitter: &Splitter,
) -> PyResult<Vec<ChunkCounts>> {
    let mut counts = Vec::new();
    counts.resize_with(rayon::current_num_threads(), ChunkCounts::default);
    loop {
        // The texts stay where Python has them: a `PyBackedStr` is a str that we hold on to, no copy.
        let buffer = fill_buffer(iterator, buffer_size)?;
        if buffer.is_empty() {
            return Ok(counts);
        }
        py.detach(|| {
            let texts: Vec<&str> = buffer.iter().map(|text| &text[..]).collect();
            count::count_texts(&mut counts, splitter, &texts)
        })
        .map_err(PyValueError::new_err)?;
        py.check_signals()?;
    }
}

/// The next texts of `iterator`: `buffer_size` of them, or fewer if they are long or the last.
fn fill_buffer(iterator: &Bound<'_, PyIterator>, buffer_size: usize) -> PyResult<Vec<PyBackedStr>> {
    let mut buffer = Vec::new();
    let mut bytes = 0;
    // `clone` makes a second name for the same iterator, not a second iterator.
    let mut iterator = iterator.clone();
    while buffer.len() < buffer_size && bytes < MAX_BUFFER_BYTES {
        let Some(item) = iterator.next() else { break };
        let text = to_text(item?)?;
        bytes += text.len() + 64; // even an empty str takes some memory
        buffer.push(text);
    }
    Ok(buffer)
}

fn to_text(item: Bound<'_, PyAny>) -> PyResult<PyBackedStr> {
    match item.cast_into::<PyString>() {
        Ok(text) => PyBackedStr::try_from(text),
        Err(error) => {
            let kind = error.into_inner().get_type().name()?.to_string();
            Err(PyTypeError::new_err(format!("texts must be str, got {kind}")))
        }
    }
}

/// What happens between two merges: report, and look for Ctrl-C now and then.
struct Watch {
    last: Instant,
    on_merge: Option<Py<PyAny>>,
}

impl Watch {
    fn after_merge(&mut self, pair: Pair, count: u64) -> PyResult<()> {
        if let Some(on_merge) = &self.on_merge {
            Python::attach(|py| on_merge.call1(py, (pair, count)).map(drop))?;
        }
        if self.last.elapsed() > SIGNAL_INTERVAL {
            Python::attach(|py| py.check_signals())?;
            self.last = Instant::now();
        }
        Ok(())
    }
}

#[pymodule]
mod mini_rustbpe {
    #[pymodule_export]
    use super::split_text;
    #[pymodule_export]
    use super::Tokenizer;
}
