-- About a gigabyte as a trading application has it: narrow rows with a key of two columns, wide ones with documents, and
-- what the migration is about. Keys between tables come last: checked one by one they take longer than all the rest.
CREATE TABLE symbols (id int PRIMARY KEY, name text NOT NULL UNIQUE, exchange text NOT NULL);
INSERT INTO symbols
    SELECT n, 'SYM' || n, (ARRAY['bybit', 'binance', 'okx'])[1 + n % 3] FROM generate_series(0, 1999) n;

CREATE TABLE candles (
    symbol_id int NOT NULL, at timestamptz NOT NULL,
    open numeric(18, 8) NOT NULL, high numeric(18, 8) NOT NULL, low numeric(18, 8) NOT NULL, close numeric(18, 8) NOT NULL,
    volume numeric(18, 4) NOT NULL
);
INSERT INTO candles
    SELECT n % 2000, timestamptz '2024-01-01' + n / 2000 * interval '1 minute', price, price + 3.5, price - 2.25, price + 1,
        n * 31 % 100000 / 7.0
    FROM (SELECT n, 100 + n * 7919 % 10000 / 97.0 AS price FROM generate_series(0::bigint, 3599999) n) priced;
ALTER TABLE candles ADD PRIMARY KEY (symbol_id, at);
CREATE INDEX candles_at ON candles USING brin (at);

INSERT INTO backtests (symbol)
    SELECT 'SYM' || n % 2000 FROM generate_series(1, 100000) n;

CREATE TABLE trades (
    id bigint PRIMARY KEY, backtest_id int NOT NULL, symbol_id int NOT NULL, side text NOT NULL, price numeric(18, 8),
    at timestamptz NOT NULL, reason jsonb NOT NULL
);
INSERT INTO trades
    SELECT n, 1 + n % 100000, n % 2000, (ARRAY['buy', 'sell'])[1 + n % 2], 100 + n * 7919 % 10000 / 97.0,
        timestamptz '2024-01-01' + n * interval '1 second',
        jsonb_build_object('signal', md5(n::text), 'score', n % 1000, 'why', 'crossed the average of twenty')
    FROM generate_series(1::bigint, 2000000) n;
CREATE INDEX trades_backtest ON trades (backtest_id, at);

ALTER TABLE candles ADD FOREIGN KEY (symbol_id) REFERENCES symbols;
ALTER TABLE trades ADD FOREIGN KEY (symbol_id) REFERENCES symbols, ADD FOREIGN KEY (backtest_id) REFERENCES backtests;
ANALYZE;
CHECKPOINT;
