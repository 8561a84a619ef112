package worker

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// journalled is what a dead writer's file says.
type journalled struct {
	token string
	jobID string
	boot  string
	sync  bool
	// dots are the recipients whose final dot may have gone out, in order; results is what became of recipients.
	dots    []string
	results map[string]campaign.Result
	// invalid counts torn lines.
	invalid int
}

// complete reports whether a DOT that was written is certainly here: the kernel that took the writes still runs, or
// each was synced.
func (j journalled) complete(boot string) bool {
	return j.sync || (boot != "" && j.boot == boot)
}

// dead returns the files of the directory whose writers are dead.
func (j *journal) dead() ([]*deadFile, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, fmt.Errorf("listing the journal's directory: %w", err)
	}
	var files []*deadFile
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, journalSuffix) && !strings.HasSuffix(name, journalSuffix+newSuffix) {
			continue
		}
		f, err := openDead(filepath.Join(j.dir, name))
		if err != nil {
			for _, f := range files {
				f.close()
			}
			return nil, fmt.Errorf("opening a journal file: %w", err)
		}
		if f != nil {
			files = append(files, f)
		}
	}
	return files, nil
}

// deadFile is a journal file of a dead writer, locked by us.
type deadFile struct {
	path string
	file *os.File
}

// openDead locks the file; nil if its writer lives, or has removed it.
func openDead(path string) (*deadFile, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	locked, err := lockDead(file, path)
	if err != nil || !locked {
		_ = file.Close() // only read
		return nil, err
	}
	return &deadFile{path: path, file: file}, nil
}

func lockDead(file *os.File, path string) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("locking: %w", err)
	}
	ours, err := file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path) // its writer may have removed it between our open and our lock
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, there), err
}

// headless reports whether the writer died before the file got its name: nothing was claimed under it.
func (f *deadFile) headless() bool { return strings.HasSuffix(f.path, newSuffix) }

func (f *deadFile) close() { _ = f.file.Close() }

// remove forgets the file: everything in it is recorded.
func (f *deadFile) remove() error {
	return errors.Join(os.Remove(f.path), f.file.Close())
}

// read parses the file. The token is the file's name, whatever became of its first lines.
func (f *deadFile) read() (journalled, error) {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return journalled{}, fmt.Errorf("reading a journal file: %w", err)
	}
	j, err := parseJournal(f.file)
	if err != nil {
		return journalled{}, fmt.Errorf("reading a journal file: %w", err)
	}
	j.token = strings.TrimSuffix(filepath.Base(f.path), journalSuffix)
	return j, nil
}

// parseJournal reads lines to the end, which is where zeros begin. A line whose checksum does not hold is torn and skipped: where a DOT is torn,
// its write failed and the dot was not sent.
func parseJournal(r io.Reader) (journalled, error) {
	j := journalled{results: map[string]campaign.Result{}}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return j, err
		}
		if ended {
			line = strings.TrimRight(line, "\x00")
		}
		if text := strings.TrimSuffix(line, "\n"); text != "" {
			words, ok := unsealLine(text)
			if !ok || !j.take(words) {
				j.invalid++
			}
		}
		if ended {
			return j, nil
		}
	}
}

// unsealLine checks the line's checksum and returns its words.
func unsealLine(line string) ([]string, bool) {
	end := strings.LastIndexByte(line, ' ')
	if end < 0 {
		return nil, false
	}
	sum, err := strconv.ParseUint(line[end+1:], 16, 32)
	if err != nil || uint32(sum) != crc32.ChecksumIEEE([]byte(line[:end])) {
		return nil, false
	}
	return strings.Fields(line[:end]), true
}

func (j *journalled) take(words []string) bool {
	switch {
	case words[0] == "CARTERO-JOURNAL" && len(words) == 6 && words[1] == "1":
		j.boot = strings.TrimPrefix(words[2], "boot=")
		j.sync = words[5] == "sync=1"
		return true
	case words[0] == "CLAIM" && len(words) == 3:
		var ok bool
		j.jobID, ok = unescape(words[2])
		return ok
	case words[0] == "DOT" && len(words) == 2:
		id, ok := unescape(words[1])
		if ok && !slices.Contains(j.dots, id) {
			j.dots = append(j.dots, id)
		}
		return ok
	case words[0] == "RES" && len(words) == 9:
		result, ok := parseResult(words)
		if !ok {
			return false
		}
		j.results[result.RecipientID] = result
		return true
	default:
		return false
	}
}

func parseResult(words []string) (campaign.Result, bool) {
	var texts [4]string
	for i, word := range []string{words[1], words[2], words[4], words[5]} {
		text, ok := unescape(word)
		if !ok {
			return campaign.Result{}, false
		}
		texts[i] = text
	}
	code, err1 := strconv.Atoi(words[3])
	next, err2 := strconv.ParseInt(words[7], 10, 64)
	at, err3 := strconv.ParseInt(words[8], 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return campaign.Result{}, false
	}
	result := campaign.Result{
		RecipientID:  texts[0],
		State:        campaign.State(texts[1]),
		CountAttempt: words[6] == "1",
		Code:         code,
		EnhancedCode: texts[2],
		Category:     texts[3],
		At:           time.UnixMilli(at).UTC(),
	}
	if next != 0 {
		t := time.UnixMilli(next).UTC()
		result.NextAttemptAt = &t
	}
	if result.Category != "" {
		result.Detail = "known from the journal of a worker that ended"
	}
	return result, recordable(result)
}

// recordable reports whether a result is one that a worker writes.
func recordable(r campaign.Result) bool {
	switch r.State {
	case campaign.StateDeferred:
		return r.NextAttemptAt != nil
	case campaign.StateAccepted, campaign.StateBounced, campaign.StateFailed, campaign.StateInDoubt, campaign.StatePending:
		return true
	default:
		return false
	}
}

func unescape(word string) (string, bool) {
	if word == "-" {
		return "", true
	}
	value, err := url.QueryUnescape(word)
	return value, err == nil
}
