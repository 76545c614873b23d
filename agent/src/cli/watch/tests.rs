//! The screen in the situations that a stack can be in, drawn into memory; and what keys and answers do to it.

#![allow(clippy::unwrap_used)]
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::draw::draw;
use super::screen::{Answer, Choice, Flow, News, Screen};
use super::terminal::Look;
use crate::cli::reader::Reader;
use crate::view::{FORMAT, History, Log, LogLine, Status, StatusList, sample};

const FULL: Look = Look {
    colours: true,
    symbols: true,
};
const PLAIN: Look = Look {
    colours: false,
    symbols: false,
};

fn told(first: u64, lines: &[(&str, &str)]) -> Log {
    let at = sample::reader().now - jiff::Span::new().seconds(10);
    let line = |(i, (level, text)): (usize, &(&str, &str))| LogLine {
        number: first + u64::try_from(i).unwrap(),
        at,
        level: (*level).to_owned(),
        text: (*text).to_owned(),
    };
    Log {
        format: FORMAT,
        stack: "shop".to_owned(),
        lines: lines.iter().enumerate().map(line).collect(),
    }
}

fn answer(statuses: Vec<Status>) -> Answer {
    Answer::of(StatusList {
        format: FORMAT,
        stacks: statuses,
    })
}

/// As it is after an answer in which everything was.
fn screen(situation: &str, look: Look) -> Screen {
    let mut screen = Screen::new(sample::reader(), look, None);
    let status = sample::status(situation);
    screen.take(News::Answer(Box::new(answer(vec![status.clone()]))));
    let record = sample::snapshot(situation).record;
    let log = told(
        1,
        &[
            ("info", "a new request tag=v1.6.0"),
            ("warning", "healing: api is not running"),
            (
                "error",
                "held: the rollback failed, and what is said of it is longer than a narrow terminal is wide",
            ),
        ],
    );
    screen.take(News::Answer(Box::new(Answer {
        history: Some(History::of(&record, &[], &sample::shared())),
        log: Some((0, log)),
        ..answer(vec![status])
    })));
    screen
}

fn drawn(screen: &Screen, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width.max(1)));
    let rows = rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    rows.map(|row| format!("{}\n", row.trim_end())).collect()
}

#[track_caller]
fn check(situation: &str, look: Look, size: (u16, u16), expected: &Expect) {
    expected.assert_eq(&text(&drawn(&screen(situation, look), size)));
}

#[test]
fn steady() {
    check(
        "steady",
        FULL,
        (80, 24),
        &expect![[r#"
        steadfast                                                               14:00:03
        shop  steady: v1.5.0 runs, as asked for
          next       nothing to do; last looked 3s ago
          rollback   possible, to v1.4.0 (generation 1)
          runs       v1.5.0 (generation 2), good since 1h 54m ago
          asked for  v1.5.0, 2h ago; that is what runs
        ── services ────────────────────────────────────────────────────────────────────
          ✓ api  running, healthy  1h 59m  registry.example/shop/api:v1.5.0
          ✓ web  running, healthy  1h 59m  registry.example/shop/web:v1.5.0
        ── probes ──────────────────────────────────────────────────────────────────────
          ✓ api-http  passing  3s ago  api
        ── log ─────────────────────────────────────────────────────────────────────────
          13:59:53  a new request tag=v1.6.0
          13:59:53  warning: healing: api is not running
          13:59:53  error: held: the rollback failed, and what is said of it is longer
                    than a narrow terminal is wide







        q end   ? keys                                                       seen 3s ago
    "#]],
    );
}

#[test]
fn on_trial() {
    check(
        "trial",
        FULL,
        (80, 24),
        &expect![[r#"
        steadfast                                                               14:00:03
        shop  on trial: v1.6.0 has been healthy for 2m 3s of 5m
          healthy    ███████████████░░░░░░░░░░░░░░░░░░░░░░░  2m 3s of 5m, good in 2m 57s
          next       good in 2m 57s (at 14:03), if it stays healthy
          rollback   possible, to v1.5.0 (generation 2)
          runs       v1.6.0 (generation 3), on trial since 2m 13s ago
          asked for  v1.6.0, 2m 25s ago; that is what runs
        ── services ────────────────────────────────────────────────────────────────────
          ✓ api  running, healthy  2m 13s  registry.example/shop/api:v1.6.0
          ✓ web  running, healthy  1h 59m  registry.example/shop/web:v1.5.0
        ── probes ──────────────────────────────────────────────────────────────────────
          ✓ api-http  passing  3s ago  api
        ── log ─────────────────────────────────────────────────────────────────────────
          13:59:53  a new request tag=v1.6.0
          13:59:53  warning: healing: api is not running
          13:59:53  error: held: the rollback failed, and what is said of it is longer
                    than a narrow terminal is wide






        q end   ? keys                                                       seen 3s ago
    "#]],
    );
}

#[test]
fn failing_with_the_time_that_is_left() {
    check(
        "failing",
        FULL,
        (80, 24),
        &expect![[r#"
        steadfast                                                               14:00:03
        shop  failing: v1.6.0 has failed for 1m 53s, 3m 7s left to a rollback
          failing    ████████████░░░░░░░░░░░░░░░░░░░░░░  1m 53s of 5m, rollback in 3m 7s
          failing    api (critical, probe api-http): GET /health answered 500
          next       rolled back to v1.5.0 (generation 2) in 3m 7s (at 14:03), unless it
                     recovers
          rollback   possible, to v1.5.0 (generation 2)
          runs       v1.6.0 (generation 3), on trial since 2m 13s ago
          asked for  v1.6.0, 2m 25s ago; that is what runs
          you can    steadfast rollback shop: do not wait for it
        ── services ────────────────────────────────────────────────────────────────────
          ! api  running, unhealthy  2m 13s  registry.example/shop/api:v1.6.0
          ✓ web  running, healthy    1h 59m  registry.example/shop/web:v1.5.0
        ── probes ──────────────────────────────────────────────────────────────────────
          ✗ api-http  failing  3s ago  api: GET /health answered 500
        ── log ─────────────────────────────────────────────────────────────────────────
          13:59:53  a new request tag=v1.6.0
          13:59:53  warning: healing: api is not running
          13:59:53  error: held: the rollback failed, and what is said of it is longer
                    than a narrow terminal is wide



        q end   ? keys                                                       seen 3s ago
    "#]],
    );
    check(
        "failing",
        PLAIN,
        (60, 15),
        &expect![[r#"
        steadfast                                           14:00:03
        shop  failing: v1.6.0 has failed for 1m 53s, 3m 7s left to a
                     rollback
          failing    #####.........  1m 53s of 5m, rollback in 3m 7s
          failing    api (critical, probe api-http): GET /health
                     answered 500
          next       rolled back to v1.5.0 (generation 2) in 3m 7s
                     (at 14:03), unless it recovers
          rollback   possible, to v1.5.0 (generation 2)
          runs       v1.6.0 (generation 3), on trial since 2m 13s
          ~ 3 more lines
        -- log -----------------------------------------------------
          13:59:53  error: held: the rollback failed, and what is
          ~ 2 more lines
        q end   ? keys                                   seen 3s ago
    "#]],
    );
}

#[test]
fn rolling_back_step_by_step() {
    check(
        "rolling back",
        FULL,
        (120, 40),
        &expect![[r#"
            steadfast                                                                                                       14:00:03
            shop  rolling back: to v1.5.0, step 3 of 5
              step       ████████████████░░░░░░░░░░░░░░░░░░░░░░░░  3 of 5
            ── rollback 12, begun 9s ago, by steadfast ─────────────────────────────────────────────────────────────────────────────
              ✓ done          135ms  create api-1 from 01537f435b1b
              ✓ done           2.4s  stop api (c7aa851d3bc1), by force after 10 s
              > now              7s  start api (new api-1)
              · next                 wait until api is healthy, at most 60 s
              ·                      remove c7aa851d3bc1
              because    api failed for 5m: GET /health answered 500 (operation 12, by steadfast)
              failing    api (critical, probe api-http): GET /health answered 500
              next       start api (new api-1)
              rollback   not now: a rollback is under way
              runs       v1.6.0 (generation 3), on trial since 2m 13s ago
              asked for  v1.6.0, 2m 25s ago
            ── services ────────────────────────────────────────────────────────────────────────────────────────────────────────────
              ! api  running, unhealthy  2m 13s  registry.example/shop/api:v1.6.0
              ✓ web  running, healthy    1h 59m  registry.example/shop/web:v1.5.0
            ── probes ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
              ✗ api-http  failing  3s ago  api: GET /health answered 500
            ── log ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
              13:59:53  a new request tag=v1.6.0
              13:59:53  warning: healing: api is not running
              13:59:53  error: held: the rollback failed, and what is said of it is longer than a narrow terminal is wide















            q end   ? keys                                                              containers seen 10s ago, before the rollback
        "#]],
    );
    check(
        "rolling back",
        FULL,
        (60, 15),
        &expect![[r#"
        steadfast                                           14:00:03
        shop  rolling back: to v1.5.0, step 3 of 5
          step       ███████████████░░░░░░░░░░░░░░░░░░░░░░░░  3 of 5
        ── rollback 12, begun 9s ago, by steadfast ─────────────────
          ✓ done           2.4s  stop api (c7aa851d3bc1), by force…
          > now              7s  start api (new api-1)
          · next                 wait until api is healthy, at most…
          ·                      remove c7aa851d3bc1
          because    api failed for 5m: GET /health answered 500
                     (operation 12, by steadfast)
          … 7 more lines
        ── log ─────────────────────────────────────────────────────
          13:59:53  error: held: the rollback failed, and what is
          … 2 more lines
        q end   ? keys  containers seen 10s ago, before the rollback
    "#]],
    );
    check(
        "taking back",
        FULL,
        (80, 24),
        &expect![[r#"
        steadfast                                                               14:00:03
        shop  deploying: v1.6.0, taking it back
          step       ████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  2 of 5
        ── deploy 12, begun 9s ago, by steadfast ───────────────────────────────────────
          ✓ done          135ms  create api-1 from 01537f435b1b
          > taking back          stop api (c7aa851d3bc1), by force after 10 s
          ✗ failed        130ms  start api (new api-1)
          ·                      wait until api is healthy, at most 60 s
          ·                      remove c7aa851d3bc1
          because    desired.toml asks for v1.6.0 (operation 12, by steadfast)
          failed     the port 8080 is taken
          next       stop api (c7aa851d3bc1), by force after 10 s
          rollback   possible: the deploy is taken back, v1.5.0 (generation 2) runs on
          runs       v1.5.0 (generation 2), good since 1h 54m ago
          asked for  v1.6.0, 11s ago
        ── services ────────────────────────────────────────────────────────────────────
          ✓ api  running, healthy  1h 59m  registry.example/shop/api:v1.5.0
          ✓ web  running, healthy  1h 59m  registry.example/shop/web:v1.5.0
        ── probes ──────────────────────────────────────────────────────────────────────
          ✓ api-http  passing  3s ago  api
        ── log ─────────────────────────────────────────────────────────────────────────
          13:59:53  error: held: the rollback failed, and what is said of it is longer
                    than a narrow terminal is wide
        q end   ? keys                         containers seen 9s ago, before the deploy
    "#]],
    );
}

#[test]
fn held_and_asking() {
    check(
        "held",
        FULL,
        (80, 24),
        &expect![[r#"
        steadfast                                                               14:00:03
        shop  held: v1.5.0 was restored and fails the same probe as v1.6.0: the cause is
                     outside
          next       what runs is healed; nothing else is done by itself
                     held since 13:56: mend what api-http asks for, then retry or ask
                     for another release
          rollback   not possible: nothing older differs in api
          runs       v1.5.0 (generation 2), good since 1h 54m ago
          asked for  v1.5.0, 2h ago; that is what runs
          you can    steadfast retry shop: try again what was asked for
                     steadfast pin shop TAG: ask for another release
        ── services ────────────────────────────────────────────────────────────────────
          ✓ api  running, healthy  1h 59m  registry.example/shop/api:v1.5.0
          ✓ web  running, healthy  1h 59m  registry.example/shop/web:v1.5.0
        ── probes ──────────────────────────────────────────────────────────────────────
          ✓ api-http  passing  3s ago  api
        ── log ─────────────────────────────────────────────────────────────────────────
          13:59:53  a new request tag=v1.6.0
          13:59:53  warning: healing: api is not running
          13:59:53  error: held: the rollback failed, and what is said of it is longer
                    than a narrow terminal is wide


        q end   ? keys                                                       seen 3s ago
    "#]],
    );
    check(
        "first contact",
        FULL,
        (80, 24),
        &expect![[r#"
        steadfast                                                               14:00:03
        shop  waits for your approval: something else runs than desired.toml asks for:
                     change it?
          differs    api: the image is another one
          next       nothing is changed until somebody answers question dfd567e03676
                     api would be replaced
          rollback   not possible: there is no earlier good generation
          runs       generation 1, good since 1d ago, found running
          asked for  v1.5.0, 2h ago
          you can    steadfast plan shop: see what would be done
                     steadfast approve shop: agree
                     steadfast deny shop: refuse
        ── services ────────────────────────────────────────────────────────────────────
          ✓ api  running, healthy  1h 59m  registry.example/shop/api:v1.5.0
          ✓ web  running, healthy  1h 59m  registry.example/shop/web:v1.5.0
        ── probes ──────────────────────────────────────────────────────────────────────
          ✓ api-http  passing  3s ago  api
        ── log ─────────────────────────────────────────────────────────────────────────
          13:59:53  a new request tag=v1.6.0
          13:59:53  warning: healing: api is not running
          13:59:53  error: held: the rollback failed, and what is said of it is longer
                    than a narrow terminal is wide

        q end   ? keys                                                       seen 3s ago
    "#]],
    );
}

#[test]
fn paused_and_in_the_dark() {
    check(
        "paused",
        PLAIN,
        (60, 15),
        &expect![[r#"
            steadfast                                           14:00:03
            shop  paused: until 15:50, by ada: moving the disk
              paused     ##..........................  goes on in 1h 49m
              next       goes on at 15:50, in 1h 49m
              rollback   possible, to v1.4.0 (generation 1)
              runs       v1.5.0 (generation 2), good since 1h 54m ago
              asked for  v1.5.0, 2h ago; that is what runs
              you can    steadfast resume shop: end the pause
            -- services ------------------------------------------------
              + api  running, healthy  1h 59m  ~/shop/api:v1.5.0
              + web  running, healthy  1h 59m  ~/shop/web:v1.5.0
            -- log -----------------------------------------------------
              13:59:53  error: held: the rollback failed, and what is
              ~ 2 more lines
            q end   ? keys                                   seen 3s ago
        "#]],
    );
    check(
        "engine away",
        FULL,
        (60, 15),
        &expect![[r#"
        steadfast                                           14:00:03
        shop  unknown: the engine cannot be reached
          engine     the docker engine is not reachable at
                     unix:///var/run/docker.sock: connection refused
          next       it tries again; what is not seen is neither
                     judged nor changed
          rollback   not possible, to v1.4.0 (generation 1): the
                     engine cannot be asked for its images
          runs       v1.5.0 (generation 2), good since 1h 54m ago
          asked for  v1.5.0, 2h ago
        ── log ─────────────────────────────────────────────────────
          13:59:53  error: held: the rollback failed, and what is
                    said of it is longer than a narrow terminal is
                    wide
        q end   ? keys                                  seen 48s ago
    "#]],
    );
}

#[test]
fn too_small_is_said() {
    check(
        "failing",
        FULL,
        (39, 24),
        &expect![[r#"
        too small: 39x24,
        needs 40x10
        failing





















    "#]],
    );
    check(
        "failing",
        FULL,
        (20, 2),
        &expect![[r#"
        too small: 20x2,
        needs 40x10
    "#]],
    );
}

#[test]
fn no_size_is_a_panic_and_nothing_is_sent_that_the_terminal_cannot_show() {
    for situation in crate::cli::narrow::SITUATIONS {
        for (width, height) in [(0, 0), (1, 1), (40, 10), (41, 11), (60, 15), (80, 24), (250, 90)] {
            for help in [false, true] {
                let mut plain = screen(situation, PLAIN);
                plain.help = help;
                let buffer = drawn(&plain, (width, height));
                for cell in &buffer.content {
                    assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{situation}");
                    assert!(cell.symbol().is_ascii(), "{situation}: {:?}", cell.symbol());
                }
            }
        }
    }
    let colours = drawn(&screen("failing", FULL), (80, 24));
    assert!(colours.content.iter().any(|cell| cell.fg == Color::Red));
}

#[test]
fn no_escape_reaches_the_terminal() {
    let mut screen = screen("failing", FULL);
    for probe in &mut screen.statuses[0].probes {
        probe.last = Some("\u{1b}[31mred\u{7}".to_owned());
    }
    screen.log[0].text = "\u{1b}]0;title\u{7}".to_owned();
    let shown = text(&drawn(&screen, (120, 40)));
    assert!(shown.contains("[31mred") && shown.contains("]0;title"));
    assert!(!shown.contains(['\u{1b}', '\u{7}']));
}

fn press(screen: &mut Screen, code: KeyCode) -> Flow {
    screen.press(KeyEvent::new(code, KeyModifiers::NONE))
}

/// Three stacks, of which the first is shown.
fn three() -> Screen {
    let mut screen = Screen::new(sample::reader(), FULL, None);
    let named = |name: &str, situation: &str| Status {
        stack: name.to_owned(),
        ..sample::status(situation)
    };
    let all = vec![
        named("blog", "steady"),
        named("mail", "trial"),
        named("shop", "failing"),
    ];
    screen.take(News::Answer(Box::new(answer(all))));
    screen
}

#[test]
fn several_stacks_are_listed_and_a_key_chooses_one() {
    let mut screen = three();
    assert_eq!(screen.selected(), Some("blog"));
    for (key, selected) in [
        (KeyCode::Char('k'), "blog"),
        (KeyCode::Char('j'), "mail"),
        (KeyCode::Down, "shop"),
        (KeyCode::Char('j'), "shop"),
        (KeyCode::Home, "blog"),
        (KeyCode::Char('G'), "shop"),
    ] {
        assert_eq!(press(&mut screen, key), Flow::On);
        assert_eq!(screen.selected(), Some(selected), "{key:?}");
    }
    expect![[r#"
        steadfast  3 stacks                                                     14:00:03
          blog  steady: v1.5.0 runs, as asked for
          mail  on trial: v1.6.0 has been healthy for 2m 3s of 5m
        > shop  failing: v1.6.0 has failed for 1m 53s, 3m 7s left to a rollback
        shop  failing: v1.6.0 has failed for 1m 53s, 3m 7s left to a rollback
          failing    ████████████░░░░░░░░░░░░░░░░░░░░░░  1m 53s of 5m, rollback in 3m 7s
          failing    api (critical, probe api-http): GET /health answered 500
          next       rolled back to v1.5.0 (generation 2) in 3m 7s (at 14:03), unless it
                     recovers
          rollback   possible, to v1.5.0 (generation 2)
          runs       v1.6.0 (generation 3), on trial since 2m 13s ago
          asked for  v1.6.0, 2m 25s ago; that is what runs
          you can    steadfast rollback shop: do not wait for it
        ── services ────────────────────────────────────────────────────────────────────
          ! api  running, unhealthy  2m 13s  registry.example/shop/api:v1.6.0
          ✓ web  running, healthy    1h 59m  registry.example/shop/web:v1.5.0
        ── log ─────────────────────────────────────────────────────────────────────────
          nothing was told since the daemon was started

        q end   ? keys   j/k stack                                           seen 3s ago
    "#]]
    .assert_eq(&text(&drawn(&screen, (80, 20))));
    // One that is let go is not shown any longer.
    let rest = screen.statuses[..2].to_vec();
    screen.take(News::Answer(Box::new(answer(rest))));
    assert_eq!(screen.selected(), Some("blog"));
}

#[test]
fn a_key_ends_it_and_one_explains_the_others() {
    let mut screen = screen("steady", FULL);
    assert_eq!(press(&mut screen, KeyCode::Char('?')), Flow::On);
    expect![[r#"
        steadfast                                           14:00:03

          q, Esc    end
          j, Down   the next stack
          k, Up     the one before
          g, G      the first, the last
          ?         this, and back

          Nothing is changed from here. What you can do is
          said beside `you can`; in full:
          `steadfast status`, `history`, `plan`.



        q end   ? keys                                   seen 3s ago
    "#]]
    .assert_eq(&text(&drawn(&screen, (60, 15))));
    assert_eq!(press(&mut screen, KeyCode::Esc), Flow::On);
    assert!(!screen.help);
    assert_eq!(press(&mut screen, KeyCode::Char('x')), Flow::On);
    assert_eq!(press(&mut screen, KeyCode::Esc), Flow::End);
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Flow::End);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.press(interrupt), Flow::End);
}

#[test]
fn a_daemon_that_is_gone_is_said_since_when() {
    let mut screen = screen("failing", FULL);
    let now = screen.reader.now;
    let gone = || News::Silence("the daemon is not reachable at /run/steadfast/steadfast.sock".to_owned());
    screen.take(gone());
    screen.reader = Reader {
        now: now + jiff::Span::new().seconds(30),
        ..screen.reader.clone()
    };
    screen.take(gone());
    let first = |screen: &Screen| text(&drawn(screen, (80, 24))).lines().next().unwrap().to_owned();
    expect!["! no answer since 14:00:03 (30s): the daemon is not reachable at /run…  14:00:33"]
        .assert_eq(&first(&screen));
    // Nobody counts meanwhile.
    assert_eq!(
        screen.status().unwrap().failing,
        sample::status("failing").failing
    );
    let back = answer(vec![sample::status("steady")]);
    screen.take(News::Answer(Box::new(back)));
    assert_eq!(
        first(&screen),
        "steadfast                                                               14:00:33"
    );
}

#[test]
fn a_count_goes_on_between_answers_and_not_far() {
    let mut screen = screen("failing", FULL);
    let left = |screen: &Screen| screen.status().unwrap().failing.unwrap().left_seconds;
    assert_eq!(left(&screen), Some(187));
    screen.reader.now += jiff::Span::new().seconds(60);
    assert_eq!(left(&screen), Some(180));
}

#[test]
fn the_log_goes_on_from_what_is_known() {
    let mut screen = screen("steady", FULL);
    let tell = |screen: &mut Screen, after, log| {
        screen.take(News::Answer(Box::new(Answer {
            log: Some((after, log)),
            ..answer(vec![sample::status("steady")])
        })));
        screen.log.last().map(|line| line.text.clone())
    };
    let choice = |after| Choice {
        stack: Some("shop".to_owned()),
        after,
    };
    assert_eq!(screen.choice(), choice(3));
    assert_eq!(
        tell(&mut screen, 3, told(4, &[("info", "good")])).as_deref(),
        Some("good")
    );
    assert_eq!((screen.choice(), screen.log.len()), (choice(4), 4));
    // What was asked before that was known.
    tell(&mut screen, 3, told(4, &[("info", "good")]));
    assert_eq!(screen.log.len(), 4);
    // Another daemon on a clock that was set back.
    tell(&mut screen, 4, told(2, &[("info", "anew")]));
    assert_eq!((screen.choice(), screen.log.len()), (choice(2), 1));
}
