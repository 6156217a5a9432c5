package bench

import (
	"bufio"
	"cmp"
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
func mqttCompare(b *testing.B, peers []string, unit string, budget map[string]float64, measure func(p *mqttPeer) (float64, error)) {
	b.Helper()
	binary := mqttPeerBinary(b)
	got := map[string][]float64{}
	for range mqttRuns {
		for _, name := range peers {
			p := startMQTT(b, binary, name)
			if p == nil {
				continue
			}
			v, err := measure(p)
			if err != nil {
				b.Errorf("%s: %v", name, err)
				continue
			}
			got[name] = append(got[name], v)
			mqttStop(p)
		}
	}
	mqttReport(b, peers, unit, budget, got)
}

func mqttStop(p *mqttPeer) {
	_ = p.cmd.Process.Kill() // it was ours
	_ = p.cmd.Wait()
}

func mqttReport(b *testing.B, peers []string, unit string, budget map[string]float64, got map[string][]float64) {
	b.Helper()
	ours := mqttMedian(got["postern"])
	var row strings.Builder
	for _, name := range peers {
		v := got[name]
		if len(v) == 0 {
			continue
		}
		m := mqttMedian(v)
		fmt.Fprintf(&row, "\n  %-10s %12.0f %s  (%.0f to %.0f)", name, m, unit, slices.Min(v), slices.Max(v))
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

func mqttMedian[T cmp.Ordered](v []T) (m T) {
	if len(v) == 0 {
		return m
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

var mqttPeers = []string{"postern", "mochi", "mosquitto", "nats"}

const (
	mqttWarm = time.Second
	mqttTime = 3 * time.Second
)

func BenchmarkMQTTLiveQoS0Many(b *testing.B) {
	mqttCompare(b, mqttPeers, "msg/s", map[string]float64{"mochi": 1.5, "mosquitto": 1.8}, func(p *mqttPeer) (float64, error) {
		r, err := mqttgen.Load{Target: p.target(p.Live), Publishers: 50, Subscribers: 1, Warm: mqttWarm, Time: mqttTime}.Run()
		return r.Delivered, err
	})
}

func BenchmarkMQTTFanOut(b *testing.B) {
	mqttCompare(b, mqttPeers, "deliveries/s", map[string]float64{"mochi": 4, "mosquitto": 10}, func(p *mqttPeer) (float64, error) {
		r, err := mqttgen.Load{Target: p.target(p.Live), Publishers: 1, Subscribers: 100, Window: 400, Warm: mqttWarm, Time: mqttTime}.Run()
		return r.Delivered, err
	})
}

func BenchmarkMQTTStoredQoS1(b *testing.B) {
	mqttCompare(b, mqttPeers, "msg/s", map[string]float64{"mosquitto": 1.5, "nats": 1.5}, func(p *mqttPeer) (float64, error) {
		r, err := mqttgen.Load{Target: p.target(p.Stored), Publishers: 50, Subscribers: 1, QoS: 1, Warm: mqttWarm, Time: mqttTime}.Run()
		return min(r.Published, r.Delivered), err
	})
}

func BenchmarkMQTTStoredQoS1PublishOnly(b *testing.B) {
	mqttCompare(b, mqttPeers, "msg/s", map[string]float64{"mosquitto": 1.5, "nats": 1.5}, func(p *mqttPeer) (float64, error) {
		r, err := mqttgen.Load{Target: p.target(p.Stored), Publishers: 50, QoS: 1, Warm: mqttWarm, Time: mqttTime}.Run()
		return r.Published, err
	})
}

// A ratio of times has to be small: the budget is written negative.
func BenchmarkMQTTAckLatency(b *testing.B) {
	mqttCompare(b, mqttPeers, "us-p99", map[string]float64{"mosquitto": -2}, func(p *mqttPeer) (float64, error) {
		all, err := mqttgen.Load{Target: p.target(p.Stored), Publishers: 20, Time: mqttTime}.Latency(2000)
		if err != nil {
			return 0, err
		}
		return float64(all[len(all)*99/100].Microseconds()), nil
	})
}

func BenchmarkMQTTConnects(b *testing.B) {
	mqttCompare(b, mqttPeers, "connects/s", map[string]float64{"mochi": 0.9}, func(p *mqttPeer) (float64, error) {
		return p.target("").Connects(16, mqttTime)
	})
}

func BenchmarkMQTTIdleMemory(b *testing.B) {
	const n = 2000
	mqttCompare(b, mqttPeers, "B/conn", map[string]float64{"mochi": -1.15}, func(p *mqttPeer) (float64, error) {
		if _, err := p.target("").Connects(4, 500*time.Millisecond); err != nil { // warm
			return 0, err
		}
		before, err := mqttRSS(p.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		closeAll, err := p.target("").Idle(n)
		defer closeAll()
		if err != nil {
			return 0, err
		}
		time.Sleep(2 * time.Second)
		after, err := mqttRSS(p.cmd.Process.Pid)
		return float64(after-before) / n, err
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
