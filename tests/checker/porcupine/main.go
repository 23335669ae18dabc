// Judges histories of one key-value store, one per line, with Porcupine: a second opinion on what kv-checker says. What a
// key is, is written anew here from the description of the store, so that a mistake in one model is not in the other.
//
// A line of input is a JSON array of operations; a line of output is "linearizable", "violation" or "undecided".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

// A history's search gives up after this; those of the tests take milliseconds.
const searchAtMost = 60 * time.Second

// Bytes of the longest line.
const maxLine = 64 << 20

type operation struct {
	Client int    `json:"client"`
	Key    string `json:"key"`
	Call   int64  `json:"call"`
	// Absent: no answer.
	Return *int64 `json:"return"`
	// "get", "put" or "delete".
	Action string `json:"action"`
	Value  string `json:"value"`
	// The condition, if any.
	IfRevision *int64  `json:"if_revision"`
	IfValue    *string `json:"if_value"`
	IfAbsent   bool    `json:"if_absent"`
	// "unknown", "failed", "found", "absent", "done" or "mismatch".
	Outcome  string `json:"outcome"`
	Read     string `json:"read"`
	Revision *int64 `json:"revision"`
	Existed  *bool  `json:"existed"`
}

// One key. A revision of which only a bound is known is one above `above`.
type state struct {
	present  bool
	value    string
	known    bool
	revision int64
	above    int64
}

// What a revision was told with: revisions name writes, so one revision has one value.
type told map[int64]string

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var history []operation
		if err := json.Unmarshal(lines.Bytes(), &history); err != nil {
			fmt.Fprintln(os.Stderr, "not a history:", err)
			os.Exit(2)
		}
		fmt.Fprintln(out, judge(history))
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "histories can't be read:", err)
		os.Exit(2)
	}
}

func judge(history []operation) string {
	keys := map[string][]operation{}
	for _, one := range history {
		if one.Outcome != "failed" {
			keys[one.Key] = append(keys[one.Key], one)
		}
	}
	verdict := "linearizable"
	for _, operations := range keys {
		switch judgeKey(operations) {
		case porcupine.Illegal:
			return "violation"
		case porcupine.Unknown:
			verdict = "undecided"
		}
	}
	return verdict
}

func judgeKey(operations []operation) porcupine.CheckResult {
	names := told{}
	for _, one := range operations {
		switch {
		case one.Revision == nil || isOpen(one):
		case one.Outcome == "found":
			names[*one.Revision] = one.Read
		case one.Outcome == "done" && one.Action == "put":
			names[*one.Revision] = one.Value
		}
	}
	var calls []porcupine.Operation
	for _, one := range operations {
		// Without an answer it may take effect at any time, or after everything else, which is as good as never.
		end := int64(math.MaxInt64)
		if !isOpen(one) {
			end = *one.Return
		}
		calls = append(calls, porcupine.Operation{ClientId: one.Client, Input: one, Call: one.Call, Return: end})
	}
	model := porcupine.Model{
		Init: func() any { return state{known: true} },
		Step: func(before, input, _ any) (bool, any) { return names.step(before.(state), input.(operation)) },
	}
	return porcupine.CheckOperationsTimeout(model, calls, searchAtMost)
}

func isOpen(one operation) bool { return one.Return == nil || one.Outcome == "unknown" }

func (names told) step(key state, one operation) (bool, state) {
	if isOpen(one) {
		return true, names.open(key, one)
	}
	switch one.Outcome {
	case "absent":
		return !key.present, key
	case "found":
		if !key.present || key.value != one.Read {
			return false, key
		}
		return names.has(key, one.Revision)
	case "mismatch":
		ok, seen := names.has(key, one.Revision)
		if !ok {
			return false, key
		}
		holds, certain := names.holds(seen, one)
		return !(holds && certain), seen
	case "done":
		holds, _ := names.holds(key, one)
		if !holds {
			return false, key
		}
		if one.IfRevision != nil {
			_, key = names.has(key, one.IfRevision)
		}
		if one.Existed != nil && *one.Existed != key.present {
			return false, key
		}
		if one.Action == "delete" {
			return true, absent(key)
		}
		return written(key, one)
	}
	return false, key
}

// An operation without an answer always can be: it changes the key if its condition holds.
func (names told) open(key state, one operation) state {
	holds, _ := names.holds(key, one)
	switch {
	case !holds || one.Action == "get":
		return key
	case one.Action == "delete":
		if !key.present {
			return key
		}
		return absent(key)
	default:
		if one.IfRevision != nil {
			_, key = names.has(key, one.IfRevision)
		}
		return state{present: true, value: one.Value, above: key.least()}
	}
}

func written(key state, one operation) (bool, state) {
	after := state{present: true, value: one.Value, above: key.least()}
	if one.Revision == nil {
		return true, after
	}
	if *one.Revision <= after.above {
		return false, key
	}
	after.known, after.revision, after.above = true, *one.Revision, *one.Revision
	return true, after
}

// A deletion is an entry too: what comes next has a higher revision than what was deleted.
func absent(key state) state { return state{known: true, above: key.least()} }

// Every later write has a higher revision than this.
func (key state) least() int64 { return max(key.above, key.revision) }

// Whether the key can have this revision, and what is known of it then.
func (names told) has(key state, revision *int64) (bool, state) {
	if revision == nil {
		return true, key
	}
	if key.known {
		return key.revision == *revision, key
	}
	value, isTold := names[*revision]
	if *revision <= key.above || (isTold && value != key.value) {
		return false, key
	}
	key.known, key.revision, key.above = true, *revision, *revision
	return true, key
}

// Whether the condition can hold, and whether it must.
func (names told) holds(key state, one operation) (can, must bool) {
	switch {
	case one.IfRevision != nil:
		can, _ = names.has(key, one.IfRevision)
		return can, key.known
	case one.IfAbsent:
		return !key.present, true
	case one.IfValue != nil:
		return key.present && key.value == *one.IfValue, true
	}
	return true, true
}
