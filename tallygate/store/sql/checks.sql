-- What checks of a whole store read.

-- nobodys: what nobody bears of all current bills, by currency
SELECT currency, sum(amount_nanos) AS nanos FROM unattributed_charges GROUP BY currency ORDER BY currency;
