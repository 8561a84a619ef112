package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// process is a part of cartero.
type process struct {
	command *exec.Cmd
	metrics string
	log     string
}

// start starts a part, whose log is a file in the directory.
func (b *bench) start(ctx context.Context, name string, env map[string]string) (*process, error) {
	p := &process{log: filepath.Join(b.directory, name+".log")}
	p.command = exec.CommandContext(ctx, b.settings.Cartero, name)
	p.command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.directory}
	return p, measure.Start(p.command, p.log, env)
}

func (p *process) stop() error {
	if p == nil || p.command.Process == nil {
		return nil
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.command.Wait()
}

// resident is what the process has of memory now and had at most, in MiB.
func (p *process) resident() (now, most float64) { return measure.Memory(p.command.Process.Pid) }

// processor is the processor time that the process has used.
func (p *process) processor() time.Duration {
	return time.Duration(measure.CPU(p.command.Process.Pid) * float64(time.Second))
}

// scrape reads the metrics in the form that has native histograms.
func (p *process) scrape(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.metrics, nil)
	if err != nil {
		return nil, err
	}
	format := expfmt.NewFormat(expfmt.TypeProtoDelim)
	request.Header.Set("Accept", string(format))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	families := map[string]*dto.MetricFamily{}
	decoder := expfmt.NewDecoder(bytes.NewReader(text), expfmt.ResponseFormat(response.Header))
	for {
		family := &dto.MetricFamily{}
		if err := decoder.Decode(family); err == io.EOF { //nolint:errorlint // what the decoder says at the end
			return families, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading metrics: %w", err)
		}
		families[family.GetName()] = family
	}
}

// longest is the upper bound, in seconds, of the highest bucket that got anything since before.
func longest(family, before *dto.MetricFamily) float64 {
	most, old := 0.0, buckets(before)
	for bound, n := range buckets(family) {
		if n > old[bound] {
			most = max(most, bound)
		}
	}
	return most
}

// buckets are the observations of all histograms of a family by the upper bound of their bucket: the native ones, which
// are 10 % wide, where there are any.
func buckets(family *dto.MetricFamily) map[float64]uint64 {
	counts := map[float64]uint64{}
	for _, metric := range family.GetMetric() {
		h := metric.GetHistogram()
		if len(h.GetPositiveSpan()) > 0 {
			for bound, n := range native(h) {
				counts[bound] += n
			}
			continue
		}
		below := uint64(0)
		for _, bucket := range h.GetBucket() {
			counts[bucket.GetUpperBound()] += bucket.GetCumulativeCount() - below
			below = bucket.GetCumulativeCount()
		}
	}
	return counts
}

// sum is that of all counters of a family.
func sum(family *dto.MetricFamily) (total float64) {
	for _, metric := range family.GetMetric() {
		total += metric.GetCounter().GetValue()
	}
	return total
}
