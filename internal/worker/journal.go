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
// under flock(2) as long as the process lives. Written with write(2), it survives kill -9; with sync also a lost node.
//
// A file holds lines of words, each closed by the CRC-32 of what is before it:
//
//	CARTERO-JOURNAL 1 boot=ID pid=N start=MS sync=0|1
//	CLAIM token job
//	DOT recipient
//	RES recipient state code enhanced category counted nextAttemptMS atMS
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
	probe, err := j.create("probe-"+strconv.Itoa(os.Getpid())+"-"+strconv.FormatInt(now.UnixNano(), 36), "none")
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

// create starts the file of one claim. It gets its name only once it is locked and has its head: who finds it by its
// name and can lock it knows that its writer is dead.
func (j *journal) create(token, jobID string) (*journalFile, error) {
	f, err := j.tryCreate(token, jobID)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EWOULDBLOCK) {
		// Another process, starting on the same directory, took the new file for a dead writer's.
		f, err = j.tryCreate(token, jobID)
	}
	j.note(err)
	if err != nil {
		return nil, fmt.Errorf("starting a journal file: %w", err)
	}
	return f, nil
}

func (j *journal) tryCreate(token, jobID string) (f *journalFile, err error) {
	path := filepath.Join(j.dir, token+journalSuffix)
	file, err := os.OpenFile(path+newSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
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
	head := fmt.Sprintf("CARTERO-JOURNAL 1 boot=%s pid=%d start=%d sync=%d",
		j.boot, os.Getpid(), j.start.UnixMilli(), boolDigit(j.sync))
	if err := f.write(sealLine(head) + sealLine("CLAIM "+escape(token)+" "+escape(jobID))); err != nil {
		return nil, err
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
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
}

// dot remembers, before the final dot goes out, that this recipient's mail may be accepted from now on.
func (f *journalFile) dot(id string) error {
	return f.append("DOT "+escape(id), f.journal.sync)
}

// result remembers what became of a recipient. It is not synced: losing it turns a certain result into a doubt.
func (f *journalFile) result(r campaign.Result) error {
	next := int64(0)
	if r.NextAttemptAt != nil {
		next = r.NextAttemptAt.UnixMilli()
	}
	line := strings.Join([]string{
		"RES", escape(r.RecipientID), escape(string(r.State)), strconv.Itoa(r.Code),
		escape(r.EnhancedCode), escape(r.Category), boolDigitString(r.CountAttempt),
		strconv.FormatInt(next, 10), strconv.FormatInt(r.At.UnixMilli(), 10),
	}, " ")
	return f.append(line, false)
}

func (f *journalFile) append(line string, syncNow bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.write(sealLine(line))
	if err == nil && syncNow {
		err = f.file.Sync()
	}
	if err != nil {
		err = fmt.Errorf("writing the journal: %w", err)
		f.journal.note(err)
	}
	return err
}

// write appends text in one write(2). After a failure the next line starts afresh, so that a torn one spoils only
// itself.
func (f *journalFile) write(text string) error {
	if f.torn {
		text = "\n" + text
	}
	_, err := f.file.WriteString(text)
	f.torn = err != nil
	return err
}

// remove forgets the file: everything in it is recorded.
func (f *journalFile) remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
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
	_ = f.file.Close() // nothing is buffered; the lock ends with the descriptor
}

// sealLine closes a line with its checksum.
func sealLine(line string) string {
	return line + " " + strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(line))), 16) + "\n"
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

func boolDigitString(b bool) string { return strconv.Itoa(boolDigit(b)) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
