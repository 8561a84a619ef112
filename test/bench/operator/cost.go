package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// cost is what campaigns have cost all who take part.
type cost struct {
	// Processor are the seconds of each process, by its name.
	Processor map[string]float64
	// Requests are those that the API server has answered, by what was asked for.
	Requests map[string]float64
}

// minus is what came since then, of which each of n campaigns has a part.
func (c cost) minus(before cost, n int) cost {
	each := func(now, then map[string]float64) map[string]float64 {
		part := map[string]float64{}
		for name, value := range now {
			part[name] = (value - then[name]) / float64(n)
		}
		return part
	}
	return cost{each(c.Processor, before.Processor), each(c.Requests, before.Requests)}
}

// milliseconds are the seconds of Processor.
func (c cost) milliseconds() map[string]float64 {
	m := map[string]float64{}
	for name, seconds := range c.Processor {
		m[name] = seconds * 1000
	}
	return m
}

// shares lists them, the largest first; what is nothing in the format is left out.
func shares(of map[string]float64, format string) string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b))
	})
	var text []string
	for _, name := range names {
		if shown := fmt.Sprintf(format, of[name]); strings.Trim(shown, "0.") != "" {
			text = append(text, name+" "+shown)
		}
	}
	return strings.Join(text, ", ")
}

// cost asks everybody.
func (b *bench) cost(ctx context.Context) (cost, error) {
	c := cost{Processor: map[string]float64{
		"operator": measure.CPU(b.operator.command.Process.Pid), "worker": measure.CPU(b.worker.command.Process.Pid),
		"MariaDB": measure.CPU(b.servers.DatabasePID), "Redis": measure.CPU(b.servers.RedisPID),
		"the bench": measure.CPU(os.Getpid()),
	}, Requests: map[string]float64{}}
	for name, pid := range childrenOf(os.Getpid(), "etcd", "kube-apiserver") {
		c.Processor[name] = measure.CPU(pid)
	}
	clients, err := kubernetes.NewForConfig(b.plane.Config)
	if err != nil {
		return c, err
	}
	text, err := clients.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return c, fmt.Errorf("reading the metrics of the API server: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return c, fmt.Errorf("reading the metrics of the API server: %w", err)
	}
	for _, m := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, label := range m.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		what := strings.TrimSuffix(labels["resource"]+"/"+labels["subresource"], "/")
		if code := labels["code"]; !strings.HasPrefix(code, "2") {
			what += " (" + code + ")"
		}
		c.Requests[labels["verb"]+" "+what] += m.GetCounter().GetValue()
	}
	return c, nil
}

// childrenOf finds processes by the name of their program.
func childrenOf(parent int, programs ...string) map[string]int {
	found := map[string]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		head, rest, _ := strings.Cut(string(text), ") ")
		pid, name, _ := strings.Cut(head, " (")
		fields := strings.Fields(rest)
		for _, program := range programs {
			if program[:min(len(program), 15)] == name && len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
				found[program], _ = strconv.Atoi(pid)
			}
		}
	}
	return found
}
