package ui

import (
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// rewording is what we say instead of a message of kong's.
type rewording struct {
	of    *regexp.Regexp
	plain string
}

// rewordings put kong's messages into words for people who do not know its types.
var rewordings = []rewording{
	{regexp.MustCompile(`^unknown flag (-[^-])(, did you mean .*)?$`), "unknown flag $1"}, // one letter is like any other
	{regexp.MustCompile(`^expected "(.*)"$`), "missing $1"},
	{regexp.MustCompile(`^(--\S+|<\S+>): expected .*value but got "EOL" \(<EOL>\)$`), "$1 needs a value"},
	{regexp.MustCompile(`^(--\S+): expected .*value but got "(.*)" \(.*\); perhaps try .*$`), "$1 needs a value, and $2 looks like a flag: write $1=$2 if it is meant"},
	{regexp.MustCompile(`^(--\S+): missing value, expecting .*$`), "$1 needs a value"},
	{regexp.MustCompile(`^--\S+: .* \(from envar (\w+)=(".*")\)$`), "$1 in the environment: want true or false, got $2"},
	{regexp.MustCompile(`^(--\S+): bool value must be .* but got (".*")$`), "$1: want no value, =true or =false, got $2"},
	{regexp.MustCompile(`^(--\S+ and --\S+) can't be used together$`), "$1 exclude each other"},
	{regexp.MustCompile(`^\w+: (--\S+: .*)$`), "$1"}, // of Validate: the command's name
}

var (
	notOneOf        = regexp.MustCompile(`^(--\S+|<\S+>) must be one of (\S+) but got (".*")$`)
	unknownCommand  = regexp.MustCompile(`^unexpected argument (.*)$`)
	unknownRootFlag = regexp.MustCompile(`^unknown flag --([^\s,]+)`)
)

// PlainUsage rewords a message of kong's about the command, which is empty if
// none was found.
func PlainUsage(text, command string, isFlag func(name string) bool) string {
	if command == "" {
		if m := unknownCommand.FindStringSubmatch(text); m != nil {
			return "unknown command " + m[1]
		}
		if m := unknownRootFlag.FindStringSubmatch(text); m != nil && isFlag(m[1]) {
			return "unknown flag --" + m[1] + " before the command: write it behind"
		}
		if strings.HasPrefix(text, "expected one of ") {
			return "missing command"
		}
	}
	if m := notOneOf.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s: want %s, got %s", m[1], OneOf(strings.Split(strings.ReplaceAll(m[2], `"`, ""), ",")), m[3])
	}
	for _, r := range rewordings {
		if r.of.MatchString(text) {
			return r.of.ReplaceAllString(text, r.plain)
		}
	}
	return text
}

// Mappers read numbers, times and levels, with errors that say what is wanted.
func Mappers() []kong.Option {
	return []kong.Option{
		kong.KindMapper(reflect.String, word(func(s string, v reflect.Value) error {
			v.SetString(s)
			return nil
		})),
		kong.KindMapper(reflect.Int, word(func(s string, v reflect.Value) error {
			n, err := strconv.Atoi(s)
			v.SetInt(int64(n))
			return wantUnless(err == nil, "a whole number", s)
		})),
		kong.KindMapper(reflect.Uint16, word(func(s string, v reflect.Value) error {
			n, err := strconv.ParseUint(s, 10, 16)
			v.SetUint(n)
			return wantUnless(err == nil, "a port from 0 to 65535", s)
		})),
		kong.KindMapper(reflect.Float64, word(func(s string, v reflect.Value) error {
			n, err := strconv.ParseFloat(s, 64)
			v.SetFloat(n)
			return wantUnless(err == nil && !math.IsNaN(n) && !math.IsInf(n, 0), "a number such as 1.5", s)
		})),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), word(func(s string, v reflect.Value) error {
			d, err := parseTime(s)
			v.SetInt(int64(d))
			return err
		})),
		kong.TypeMapper(reflect.TypeFor[slog.Level](), word(func(s string, v reflect.Value) error {
			err := v.Addr().Interface().(*slog.Level).UnmarshalText([]byte(s))
			return wantUnless(err == nil, "debug, info, warn or error", s)
		})),
	}
}

// word is a mapper for what is written as one word.
func word(set func(s string, v reflect.Value) error) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, v reflect.Value) error {
		// PopValueInto goes through JSON, which replaces the bytes of names that are not UTF-8.
		t, err := ctx.Scan.PopValue("a")
		if err != nil {
			return err
		}
		return set(t.String(), v)
	})
}

func wantUnless(ok bool, want, got string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("want %s, got %q", want, got)
}

// parseTime reads a duration as Go has it, or a number of days, such as 7d.
func parseTime(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err == nil && math.Abs(n) < 36500 {
			return time.Duration(n * float64(24*time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(s)
	return d, wantUnless(err == nil, "a time such as 90s, 5m, 2h or 7d", s)
}

// AsksForJSON reports whether a command line asks for a JSON log. It is for
// errors of that command line: no parser has understood it.
func AsksForJSON(args []string) bool {
	json := false
	for i, arg := range args {
		switch {
		case arg == "--":
			return json
		case strings.HasPrefix(arg, "--log-format="):
			json = arg == "--log-format=json"
		case i > 0 && args[i-1] == "--log-format":
			json = arg == "json"
		case i > 0 && (args[i-1] == "-o" || args[i-1] == "--options"):
			json = json || slices.Contains(strings.Split(arg, ","), "log_format=json")
		}
	}
	return json
}
