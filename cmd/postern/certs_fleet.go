package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
)

const (
	// maxFleet bounds the ids that are kept in memory.
	maxFleet = 1_000_000
	// maxTold bounds the failures that are told one by one.
	maxTold = 20
)

// A fleet is the choice of many clients.
type fleet struct {
	all      bool
	tag      string
	csv      string
	parallel int
}

func (f *fleet) flags(s *pflag.FlagSet) {
	s.BoolVar(&f.all, "all", false, "for all enabled clients of the domain")
	s.StringVar(&f.tag, "tag", "", "for all enabled clients with this `tag`")
	s.StringVar(&f.csv, "from-csv", "", "for the clients of a CSV `file`: ids in its column id, or in its first")
	s.IntVar(&f.parallel, "parallel", 8, "requests at once, up to 64")
}

func (f *fleet) asked() bool { return f.all || f.tag != "" || f.csv != "" }

func (f *fleet) check(i *certIssue) error {
	ways := 0
	for _, given := range []bool{f.all, f.tag != "", f.csv != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways > 1:
		return usagef("give one of --all, --tag and --from-csv")
	case i.csr != "" || i.name != "" || i.secretFile != "" || i.p12:
		return usagef("--csr, --name, --secret-file and --p12 are for one client")
	case f.parallel < 1 || f.parallel > maxParallel:
		return usagef("--parallel is %d; give 1 to %d", f.parallel, maxParallel)
	}
	return nil
}

func cleanName(name string) string { return filepath.Base(filepath.Clean(name)) }

// clients returns the ids that were chosen. There is at least one: a tag that is
// misspelt must not look like work that is done.
func (f *fleet) clients(ctx context.Context, c *client, domain string) ([]string, error) {
	ids, err := f.chosen(ctx, c, domain)
	switch {
	case err != nil || len(ids) > 0:
		return ids, err
	case f.csv != "":
		return nil, fmt.Errorf("%s names no client", f.csv)
	case f.tag != "":
		return nil, fmt.Errorf("no enabled client has the tag %q", f.tag)
	}
	return nil, errors.New("the domain has no enabled client")
}

func (f *fleet) chosen(ctx context.Context, c *client, domain string) ([]string, error) {
	if f.csv != "" {
		file, err := os.Open(f.csv)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return idsOf(file)
	}
	q := url.Values{"limit": {"100"}, "order": {"created_at"}, "dir": {"asc"}, "status": {"enabled"}}
	if f.tag != "" {
		q.Set("tag", f.tag)
	}
	var ids []string
	for len(ids) < maxFleet {
		var page map[string]any
		if err := c.do(ctx, http.MethodGet, clientNoun.in(domain)+"?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		found := objects(page["clients"])
		for _, o := range found {
			ids = append(ids, o.at("id"))
		}
		next, _ := page["next"].(string)
		if next == "" {
			return ids, nil
		}
		q.Set("after", next)
	}
	return nil, fmt.Errorf("there are more than %d clients; choose some by --tag or --from-csv", maxFleet)
}

// idsOf reads the ids of a CSV file, of its column "id" or, when it has none, of
// its first.
func idsOf(r io.Reader) ([]string, error) {
	lines := csv.NewReader(r)
	lines.FieldsPerRecord, lines.TrimLeadingSpace, lines.ReuseRecord = -1, true, true
	var ids []string
	column := 0
	for first := true; ; first = false {
		line, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return ids, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the CSV file: %w", err)
		}
		if first {
			line[0] = strings.TrimPrefix(line[0], "\ufeff")
			if at := indexFold(line, "id"); at >= 0 {
				column = at
				continue
			}
		}
		if column >= len(line) || strings.TrimSpace(line[column]) == "" {
			continue
		}
		if ids = append(ids, strings.ToLower(strings.TrimSpace(line[column]))); len(ids) > maxFleet {
			return nil, fmt.Errorf("the CSV file has more than %d clients", maxFleet)
		}
	}
}

func indexFold(list []string, word string) int {
	for i, s := range list {
		if strings.EqualFold(strings.TrimSpace(s), word) {
			return i
		}
	}
	return -1
}

// many issues certificates for a fleet. Who may not do this at all is told once,
// not for every client.
func (i *certIssue) many(ctx context.Context, cmd *cobra.Command, c *client) error {
	ids, err := i.fleet.clients(ctx, c, *i.domain)
	if err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr(), len(ids))
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(i.fleet.parallel)
	for _, id := range ids {
		if working.Err() != nil {
			break
		}
		group.Go(func() error { return p.count(id, func() (bool, error) { return i.unlessGood(working, c, id) }) })
	}
	err = group.Wait()
	p.end()
	if err != nil {
		return err
	}
	return errors.Join(ctx.Err(), p.failures())
}

// unlessGood issues for one of many, and reports whether there was need to.
func (i *certIssue) unlessGood(ctx context.Context, c *client, id string) (issued bool, err error) {
	if good, err := i.stillGood(ctx, c, id); good || err != nil {
		return false, err
	}
	_, err = i.one(ctx, c, id)
	return err == nil, err
}

// progress tells how far many things have come: on a terminal in one line that
// is written again and again, elsewhere in lines.
type progress struct {
	w        io.Writer
	terminal bool
	start    time.Time
	total    int
	stop     chan struct{}
	stopped  chan struct{}

	mu                   sync.Mutex
	done, passed, failed int
	told                 []string
}

func newProgress(w io.Writer, total int) *progress {
	p := &progress{w: w, start: time.Now(), total: total, stop: make(chan struct{}), stopped: make(chan struct{})}
	if f, ok := w.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	every := 10 * time.Second
	if p.terminal {
		every = 250 * time.Millisecond
	}
	go p.run(every)
	return p
}

func (p *progress) run(every time.Duration) {
	defer close(p.stopped)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.tell()
		case <-p.stop:
			return
		}
	}
}

// count does one and counts it. It returns an error only when there is no point
// in going on.
func (p *progress) count(what string, do func() (changed bool, err error)) error {
	changed, err := do()
	var answer *answerError
	if errors.As(err, &answer) && (answer.status == http.StatusUnauthorized || answer.status == http.StatusForbidden) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	switch {
	case err != nil:
		if p.failed++; len(p.told) < maxTold {
			p.told = append(p.told, what+": "+err.Error())
		}
	case !changed:
		p.passed++
	}
	return nil
}

func (p *progress) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := float64(p.done) / max(time.Since(p.start).Seconds(), 0.001)
	line := fmt.Sprintf("%d of %d, %.0f a second, %d issued, %d were there, %d failed", p.done, p.total, rate, p.done-p.passed-p.failed, p.passed, p.failed)
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

// end tells the last state.
func (p *progress) end() {
	close(p.stop)
	<-p.stopped
	p.tell()
	if p.terminal {
		fmt.Fprintln(p.w)
	}
}

// failures returns what went wrong, nil when nothing did.
func (p *progress) failures() error {
	if p.failed == 0 {
		return nil
	}
	text := strings.Join(p.told, "\n")
	if more := p.failed - len(p.told); more > 0 {
		text += fmt.Sprintf("\nand %d more", more)
	}
	return fmt.Errorf("%d of %d failed; run it again for those:\n%s", p.failed, p.total, text)
}
