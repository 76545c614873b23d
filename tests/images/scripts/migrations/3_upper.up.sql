UPDATE orders SET symbol = upper(symbol);
