package fetch

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cartero-mail/cartero/internal/gunzip"
)

// File is a fetched file. Its readers may be used concurrently.
type File struct {
	host    string
	file    *os.File
	limits  gunzip.Limits
	served  int64
	size    int64
	encoded bool // by the server
	packed  bool // is gzip by itself, and wanted decompressed
	sum     string
	content string
}

// newFile makes a file that is nowhere listed: it is gone when it is closed, however the process ends.
func newFile(config Config, host string) (*File, error) {
	file, err := os.CreateTemp(config.Dir, "cartero-fetch-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("hiding a temporary file: %w", err), file.Close())
	}
	return &File{host: host, file: file, limits: gunzip.Limits{Bytes: config.MaxContent}}, nil
}

// fill writes all that there is, and takes its checksum.
func (f *File) fill(from io.Reader) (int64, error) {
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(f.file, hash), from)
	f.served, f.sum = n, hex.EncodeToString(hash.Sum(nil))
	if err != nil {
		return n, fmt.Errorf("writing a temporary file: %w", err)
	}
	return n, nil
}

// identify holds the file against what was asked for, and reads its contents once, which must be within their limits.
func (f *File) identify(ctx context.Context, r Request) error {
	if r.SHA256 != "" && !strings.EqualFold(r.SHA256, f.sum) {
		return refuse(ReasonChecksumMismatch, f.host,
			"the file has the sha256 %s, not the one given: restore the file, or give its new sha256", f.sum)
	}
	if r.Gunzip {
		head, err := bufio.NewReader(f.Open()).Peek(3)
		if err != nil && !errors.Is(err, io.EOF) {
			return explainContent(err, f.host)
		}
		f.packed = gunzip.Found(head)
	}
	if !f.encoded && !f.packed {
		f.size, f.content = f.served, f.sum
		return nil
	}
	hash := sha256.New()
	n, err := io.Copy(hash, &interruptible{ctx: ctx, r: f.Open()})
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("fetching: %w", ended)
	}
	if err != nil {
		return explainContent(err, f.host)
	}
	f.size, f.content = n, hex.EncodeToString(hash.Sum(nil))
	return nil
}

// Open returns a reader of the contents, from their beginning.
func (f *File) Open() io.Reader {
	var r io.Reader = io.NewSectionReader(f.file, 0, f.served)
	if f.encoded {
		r = gunzip.NewReader(r, f.limits)
	}
	if f.packed {
		r = gunzip.NewReader(r, f.limits)
	}
	return r
}

// SHA256 is that of the bytes as served, in hex.
func (f *File) SHA256() string { return f.sum }

// ContentSHA256 is that of the contents, in hex: of what Open yields. It identifies the file however it is compressed.
func (f *File) ContentSHA256() string { return f.content }

// Size is the number of bytes of the contents.
func (f *File) Size() int64 { return f.size }

// Close gives the disk's space back. No reader may be used after that.
func (f *File) Close() error {
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("closing a temporary file: %w", err)
	}
	return nil
}

func isSHA256(text string) bool {
	sum, err := hex.DecodeString(text)
	return err == nil && len(sum) == sha256.Size
}

// interruptible reads until its context ends.
type interruptible struct {
	ctx context.Context //nolint:containedctx // io.Reader has no place for it
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// watched is a body that is given up when nothing of it comes for a while.
type watched struct {
	body   io.Reader
	idle   time.Duration
	timer  *time.Timer
	idled  atomic.Bool
	failed error // what reading failed with, if it did
}

func newWatched(body io.Reader, idle time.Duration, giveUp context.CancelFunc) *watched {
	w := &watched{body: body, idle: idle}
	w.timer = time.AfterFunc(idle, func() {
		w.idled.Store(true)
		giveUp()
	})
	return w
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	if n > 0 {
		w.timer.Reset(w.idle)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		w.failed = err
	}
	return n, err
}

func (w *watched) stop() { w.timer.Stop() }
