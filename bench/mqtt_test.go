package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/bench/mqttgen"
)

// The MQTT rows of the performance budget. Each row runs every broker three
// times, in turns, in a process of its own, and prints the medians, how far the
// runs lie apart, and Postern's ratio to each peer.
//
//	go test -run='^$' -bench=MQTT ./bench/

const mqttRuns = 3

// An mqttPeer is a broker that runs.
type mqttPeer struct {
	name           string
	cmd            *exec.Cmd
	Addr, Pprof    string
	User, Password string
	Live, Stored   string
}

func (p *mqttPeer) target(topic string) mqttgen.Target {
	return mqttgen.Target{Addr: p.Addr, User: p.User, Password: p.Password, Topic: topic}
}

// startMQTT starts one of the brokers.
func startMQTT(b *testing.B, binary, name string) *mqttPeer {
	b.Helper()
	if name == "mosquitto" {
		return startMosquitto(b)
	}
	p := &mqttPeer{name: name, cmd: exec.Command(binary, name)}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close() // which ends it
		_ = p.cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		b.Fatalf("%s did not start: %v", name, err)
	}
	if err := json.Unmarshal(line, p); err != nil {
		b.Fatal(err)
	}
	return p
}

func startMosquitto(b *testing.B) *mqttPeer {
	b.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // where Debian puts it, outside of a user's path
	}
	if _, err := os.Stat(path); err != nil {
		b.Log("mosquitto is not installed: its column is empty")
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = l.Close() // mosquitto takes the port
	conf := filepath.Join(b.TempDir(), "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\nmax_connections -1\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	p := &mqttPeer{name: "mosquitto", cmd: exec.Command(path, "-c", conf), Addr: addr, Live: "m/bench/c/live", Stored: "m/bench/c/live"}
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it was ours
		_ = p.cmd.Wait()
	})
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			_ = nc.Close()
			return p
		}
		if time.Now().After(end) {
			b.Fatalf("mosquitto did not start: %v", err)
		}
	}
}

func mqttPeerBinary(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "mqttpeer")
	if out, err := exec.Command("go", "build", "-o", path, "./mqttpeer").CombinedOutput(); err != nil {
		b.Fatalf("build mqttpeer: %v\n%s", err, out)
	}
	return path
}

// mqttCompare measures every broker in turns and prints the row. budget is what
// Postern's ratio has to be, by peer.
func mqttCompare(b *testing.B, peers []string, unit string, budget map[string]float64, measure func(p *mqttPeer) (mqttFigure, error)) {
	b.Helper()
	binary := mqttPeerBinary(b)
	got := map[string][]mqttFigure{}
	for range mqttRuns {
		for _, name := range peers {
			p := startMQTT(b, binary, name)
			if p == nil {
				continue
			}
			before := mqttCPU(p.cmd.Process.Pid)
			v, err := measure(p)
			v.cpu = mqttCPU(p.cmd.Process.Pid) - before
			mqttStop(p)
			switch {
			case err == nil:
				got[name] = append(got[name], v)
			case name == "postern":
				b.Errorf("%s: %v", name, err)
			default:
				b.Logf("%s: %v", name, err) // a peer's weakness is not our failure
			}
		}
	}
	mqttReport(b, peers, unit, budget, got)
}

func mqttStop(p *mqttPeer) {
	_ = p.cmd.Process.Kill() // it was ours
	_ = p.cmd.Wait()
}

func mqttReport(b *testing.B, peers []string, unit string, budget map[string]float64, got map[string][]mqttFigure) {
	b.Helper()
	ours, _, _, _ := mqttMedian(got["postern"])
	var row strings.Builder
	for _, name := range peers {
		if len(got[name]) == 0 {
			continue
		}
		m, least, most, cpu := mqttMedian(got[name])
		fmt.Fprintf(&row, "\n  %-10s %12.0f %s  (%.0f to %.0f)", name, m, unit, least, most)
		if cpu > 0 {
			fmt.Fprintf(&row, "  %.1f us of processor each", cpu)
		}
		if name == "postern" || m == 0 {
			continue
		}
		ratio := ours / m
		b.ReportMetric(ratio, "x-"+name)
		fmt.Fprintf(&row, "  ratio %.2f", ratio)
		if want, ok := budget[name]; ok {
			verdict := "met"
			if below := want < 0; below && ratio > -want || !below && ratio < want {
				verdict = "MISSED"
			}
			fmt.Fprintf(&row, ", budget %.2f %s", want, verdict)
		}
	}
	b.ReportMetric(ours, unit)
	b.ReportMetric(0, "ns/op")
	b.Log(row.String())
}

// An mqttFigure is one measurement. Of the processor time that the broker took,
// a busy neighbour changes little, unlike of the rate.
type mqttFigure struct {
	value float64
	ops   float64       // that cpu was spent on; 0: not of interest
	cpu   time.Duration // of the broker
}

// mqttMedian returns the median, the extremes, and the median of the processor
// time for one operation in microseconds.
func mqttMedian(v []mqttFigure) (m, least, most, cpu float64) {
	if len(v) == 0 {
		return 0, 0, 0, 0
	}
	var values, each []float64
	for _, f := range v {
		values = append(values, f.value)
		if f.ops > 0 {
			each = append(each, float64(f.cpu.Microseconds())/f.ops)
		}
	}
	slices.Sort(values)
	slices.Sort(each)
	if len(each) > 0 {
		cpu = each[len(each)/2]
	}
	return values[len(values)/2], values[0], values[len(values)-1], cpu
}

var mqttPeers = []string{"postern", "mochi", "mosquitto", "nats"}

const (
	mqttWarm = time.Second
	mqttTime = 3 * time.Second
)

func BenchmarkMQTTLiveQoS0Many(b *testing.B) {
	mqttCompare(b, mqttPeers, "msg/s", map[string]float64{"mochi": 1.5, "mosquitto": 1.8}, func(p *mqttPeer) (mqttFigure, error) {
		r, err := mqttgen.Load{Target: p.target(p.Live), Publishers: 50, Subscribers: 1, Warm: mqttWarm, Time: mqttTime}.Run()
		return mqttFigure{value: r.Delivered, ops: r.Messages}, err
	})
}

func BenchmarkMQTTFanOut(b *testing.B) {
	mqttCompare(b, mqttPeers, "deliveries/s", map[string]float64{"mochi": 4, "mosquitto": 10}, func(p *mqttPeer) (mqttFigure, error) {
		r, err := mqttgen.Load{Target: p.target(p.Live), Publishers: 1, Subscribers: 100, Window: 400, Warm: mqttWarm, Time: mqttTime}.Run()
		return mqttFigure{value: r.Delivered, ops: r.Messages}, err
	})
}

func BenchmarkMQTTStoredQoS1(b *testing.B) {
	mqttCompare(b, mqttPeers, "msg/s", map[string]float64{"mosquitto": 1.5, "nats": 1.5}, func(p *mqttPeer) (mqttFigure, error) {
		r, err := mqttgen.Load{Target: p.target(p.Stored), Publishers: 50, Subscribers: 1, QoS: 1, Warm: mqttWarm, Time: mqttTime}.Run()
		return mqttFigure{value: min(r.Published, r.Delivered), ops: r.Messages}, err
	})
}

func BenchmarkMQTTStoredQoS1PublishOnly(b *testing.B) {
	mqttCompare(b, mqttPeers, "msg/s", map[string]float64{"mosquitto": 1.5, "nats": 1.5}, func(p *mqttPeer) (mqttFigure, error) {
		r, err := mqttgen.Load{Target: p.target(p.Stored), Publishers: 50, QoS: 1, Warm: mqttWarm, Time: mqttTime}.Run()
		return mqttFigure{value: r.Published, ops: r.Messages}, err
	})
}

// A ratio of times has to be small: the budget is written negative.
func BenchmarkMQTTAckLatency(b *testing.B) {
	mqttCompare(b, mqttPeers, "us-p99", map[string]float64{"mosquitto": -2}, func(p *mqttPeer) (mqttFigure, error) {
		all, err := mqttgen.Load{Target: p.target(p.Stored), Publishers: 20, Time: mqttTime}.Latency(2000)
		if err != nil {
			return mqttFigure{}, err
		}
		return mqttFigure{value: float64(all[len(all)*99/100].Microseconds()), ops: float64(len(all))}, nil
	})
}

func BenchmarkMQTTConnects(b *testing.B) {
	mqttCompare(b, mqttPeers, "connects/s", map[string]float64{"mochi": 0.9}, func(p *mqttPeer) (mqttFigure, error) {
		r, err := p.target("").Connects(16, mqttTime)
		return mqttFigure{value: r.Published, ops: r.Messages}, err
	})
}

// The reject path has to cost less than the accept path: a wrong secret is
// refused in less of the processor's time than a right one is let in.
func BenchmarkMQTTReject(b *testing.B) {
	binary := mqttPeerBinary(b)
	var accept, reject []mqttFigure
	for range mqttRuns {
		p := startMQTT(b, binary, "postern")
		right, wrong := p.target(""), p.target("")
		wrong.Password = strings.Repeat("x", len(wrong.Password))
		for _, t := range []struct {
			target mqttgen.Target
			to     *[]mqttFigure
		}{{right, &accept}, {wrong, &reject}} {
			before := mqttCPU(p.cmd.Process.Pid)
			r, err := t.target.Connects(16, mqttTime)
			if err != nil {
				b.Fatal(err)
			}
			*t.to = append(*t.to, mqttFigure{r.Published, r.Messages, mqttCPU(p.cmd.Process.Pid) - before})
		}
		mqttStop(p)
	}
	ours, _, _, cost := mqttMedian(accept)
	theirs, _, _, rejected := mqttMedian(reject)
	b.ReportMetric(rejected/cost, "x-accept")
	b.ReportMetric(0, "ns/op")
	b.Logf("\n  accept %8.0f/s  %.1f us of processor each\n  reject %8.0f/s  %.1f us of processor each  ratio %.2f, budget below 1", ours, cost, theirs, rejected, rejected/cost)
}

func BenchmarkMQTTIdleMemory(b *testing.B) {
	const n = 2000
	mqttCompare(b, mqttPeers, "B/conn", map[string]float64{"mochi": -1.15}, func(p *mqttPeer) (mqttFigure, error) {
		if _, err := p.target("").Connects(4, 500*time.Millisecond); err != nil { // warm
			return mqttFigure{}, err
		}
		before, err := mqttRSS(p.cmd.Process.Pid)
		if err != nil {
			return mqttFigure{}, err
		}
		closeAll, err := p.target("").Idle(n)
		defer closeAll()
		if err != nil {
			return mqttFigure{}, err
		}
		time.Sleep(2 * time.Second)
		after, err := mqttRSS(p.cmd.Process.Pid)
		return mqttFigure{value: float64(after-before) / n}, err
	})
}

// mqttRSS returns the resident memory of a process in bytes.
func mqttRSS(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm: %q", b)
	}
	pages, err := strconv.Atoi(fields[1])
	return pages * os.Getpagesize(), err
}

// mqttCPU returns the processor time that a process has taken. It is 0 where
// /proc is not to be had.
func mqttCPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}
