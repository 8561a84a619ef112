package worker

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/failpoint"
)

const (
	journalSuffix = ".journal"
	newSuffix     = ".new"
	bootIDFile    = "/proc/sys/kernel/random/boot_id"
)

// journal is the directory of what this process has sent and not yet recorded: one append-only file per claim, held
// under flock(2) as long as the process lives. What is in the page cache, by write(2) or through a mapping, survives
// kill -9; with sync also a lost node.
//
// A file holds lines of words, each closed by the CRC-32 of what is before it:
//
//	CARTERO-JOURNAL 1 boot=ID pid=N start=MS sync=0|1
//	CLAIM token job
//	DOT recipient
//	RES recipient state code enhanced category counted nextAttemptMS atMS
//
// Behind the last line there may be zeros: room for lines that never came.
//
// No addresses, and no texts that could contain one.
type journal struct {
	dir   string
	sync  bool
	boot  string
	start time.Time

	mu     sync.Mutex
	broken error
}

// openJournal makes the directory and shows that it can be written and locked.
func openJournal(dir string, syncWrites bool, now time.Time) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the journal's directory: %w", err)
	}
	j := &journal{dir: dir, sync: syncWrites, boot: bootID(), start: now}
	probe, err := j.create("probe-"+strconv.Itoa(os.Getpid())+"-"+strconv.FormatInt(now.UnixNano(), 36), "none", minMapped)
	if err != nil {
		return nil, err
	}
	return j, probe.remove()
}

// bootID names this run of the kernel; empty where the system has no such name.
func bootID() string {
	text, err := os.ReadFile(bootIDFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// err is the last failure to write, until a file is written well again.
func (j *journal) err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

func (j *journal) note(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = err
}

// create starts the file of one claim of about so many recipients; 0 where that is not known. It gets its name only once it
// is locked and has its head: who finds it by its name and can lock it knows that its writer is dead.
func (j *journal) create(token, jobID string, recipients int) (*journalFile, error) {
	f, err := j.tryCreate(token, jobID, recipients)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EWOULDBLOCK) {
		// Another process, starting on the same directory, took the new file for a dead writer's.
		f, err = j.tryCreate(token, jobID, recipients)
	}
	j.note(err)
	if err != nil {
		return nil, fmt.Errorf("starting a journal file: %w", err)
	}
	return f, nil
}

func (j *journal) tryCreate(token, jobID string, recipients int) (f *journalFile, err error) {
	path := filepath.Join(j.dir, token+journalSuffix)
	file, err := os.OpenFile(path+newSuffix, os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(path + newSuffix)
		}
	}()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	f = &journalFile{journal: j, file: file, path: path}
	head := appendSeal(fmt.Appendf(nil, "CARTERO-JOURNAL 1 boot=%s pid=%d start=%d sync=%d",
		j.boot, os.Getpid(), j.start.UnixMilli(), boolDigit(j.sync)), 0)
	head = appendSeal(fmt.Appendf(head, "CLAIM %s %s", escape(token), escape(jobID)), len(head))
	if err := f.write(head); err != nil {
		return nil, err
	}
	if !j.sync && recipients >= minMapped {
		if f.room, err = mapRoom(file, len(head), recipients*lineRoom); err != nil {
			return nil, fmt.Errorf("making room: %w", err)
		}
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		f.room.unmap()
		return nil, err
	}
	if err := failpoint.Hit(failpoint.WorkerJournalOpened); err != nil {
		return nil, err
	}
	if j.sync {
		if err := syncDir(j.dir); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// journalFile is the journal of one claim. It is safe for concurrent use.
type journalFile struct {
	journal *journal
	path    string

	mu   sync.Mutex
	file *os.File
	torn bool
	// room takes lines without a system call; nil where it is used up, or the system has none.
	room *room
	line []byte // kept for the next one
}

// dot remembers, before the final dot goes out, that this recipient's mail may be accepted from now on.
func (f *journalFile) dot(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.append(appendDot(f.line[:0], id), f.journal.sync)
}

// result remembers what became of a recipient. It is not synced: losing it turns a certain result into a doubt.
func (f *journalFile) result(r campaign.Result) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.append(appendResult(f.line[:0], r), false)
}

func appendDot(dst []byte, id string) []byte {
	return append(append(dst, "DOT "...), escape(id)...)
}

func appendResult(dst []byte, r campaign.Result) []byte {
	next := int64(0)
	if r.NextAttemptAt != nil {
		next = r.NextAttemptAt.UnixMilli()
	}
	dst = append(append(dst, "RES "...), escape(r.RecipientID)...)
	dst = append(append(dst, ' '), escape(string(r.State))...)
	dst = strconv.AppendInt(append(dst, ' '), int64(r.Code), 10)
	dst = append(append(dst, ' '), escape(r.EnhancedCode)...)
	dst = append(append(dst, ' '), escape(r.Category)...)
	dst = strconv.AppendInt(append(dst, ' '), int64(boolDigit(r.CountAttempt)), 10)
	dst = strconv.AppendInt(append(dst, ' '), next, 10)
	return strconv.AppendInt(append(dst, ' '), r.At.UnixMilli(), 10)
}

// append seals the line, which is made in f.line, and writes it.
func (f *journalFile) append(line []byte, syncNow bool) error {
	f.line = appendSeal(line, 0)
	err := f.write(f.line)
	if err == nil && syncNow {
		err = f.file.Sync()
	}
	if err != nil {
		err = fmt.Errorf("writing the journal: %w", err)
		f.journal.note(err)
	}
	return err
}

// write appends text where there is room for it, or else in one write(2). After a failure the next line starts afresh, so
// that a torn one spoils only itself.
func (f *journalFile) write(text []byte) error {
	if f.room != nil {
		if f.room.append(text) {
			return nil
		}
		f.leaveRoom()
	}
	if f.torn {
		text = append([]byte{'\n'}, text...)
	}
	_, err := f.file.Write(text)
	f.torn = err != nil
	return err
}

// leaveRoom cuts off the room that is left. What comes next starts afresh, for who knows what is before it if that fails.
func (f *journalFile) leaveRoom() {
	used := f.room.unmap()
	f.room = nil
	_ = f.file.Truncate(int64(used))
	f.torn = true
}

// remove forgets the file: everything in it is recorded.
func (f *journalFile) remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room.unmap()
	f.room = nil
	// Removed while it is still locked: nobody else can take it for a dead writer's.
	err := errors.Join(os.Remove(f.path), f.file.Close())
	if err != nil {
		return fmt.Errorf("removing a journal file: %w", err)
	}
	return nil
}

// abandon leaves the file to whoever replays the directory next.
func (f *journalFile) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room != nil {
		f.leaveRoom()
	}
	_ = f.file.Close() // nothing is buffered; the lock ends with the descriptor
}

// appendSeal closes the line that begins at from with its checksum.
func appendSeal(dst []byte, from int) []byte {
	sum := crc32.ChecksumIEEE(dst[from:])
	return append(strconv.AppendUint(append(dst, ' '), uint64(sum), 16), '\n')
}

// escape makes a word of a value: percent-encoded, "-" for none. Ids that Cartero derives are left as they are.
func escape(value string) string {
	if value == "" {
		return "-"
	}
	if value == "-" {
		return "%2D"
	}
	return url.QueryEscape(value)
}

func boolDigit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
