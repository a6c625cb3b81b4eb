#include "shell_logs.h"
void ph_shell_logs_lines(struct ph_shell *shell, const struct ph_output_news *news)
{
	(void)shell;
	(void)news;
}
